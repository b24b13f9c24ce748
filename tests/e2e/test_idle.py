"""A sandbox that nobody uses ends, while its page is open; the next message starts another one."""

from dataclasses import replace

import pytest

from local.stack.aws_clients import client
from tests.e2e.own_sandbox import deployed_service, variables
from tests.e2e.threads import Thread
from tests.waiting import eventually
from threadbox.control import Access

pytestmark = pytest.mark.long

FUNCTION = "threadbox-sandbox-ctl"
IDLE_SECONDS = 5


@pytest.fixture
def impatient(stack):
    """sandbox_ctl as it is deployed, but for how long the sandboxes that it starts may be idle."""
    ecs = client("ecs", stack.aws_url)
    known = ecs.describe_task_definition(taskDefinition=variables(stack)["TASK_DEFINITION"])["taskDefinition"]
    container = known["containerDefinitions"][0] | {
        "environment": [{"name": "SANDBOXD_IDLE_SECONDS", "value": str(IDLE_SECONDS)}]
    }
    # The embedded AWS tells it in another shape than it takes it.
    del container["healthCheck"]
    definition = ecs.register_task_definition(
        family=known["family"] + "-impatient",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="1024",
        memory="2048",
        containerDefinitions=[container],
    )["taskDefinition"]["taskDefinitionArn"]
    return replace(deployed_service(stack), task_definitions={"X86_64": definition})


def test_idle_sandbox_ends_and_the_next_message_starts_another(stack, token, impatient):
    """The open tab alone keeps nothing alive; its user is told why it ended, and has a place for another one."""
    thread = Thread(stack, token, user="idle")
    with thread.tab() as tab:
        eventually(lambda: isinstance(impatient.ensure(thread.name, scope="turn"), Access), seconds=90)
        running = impatient.status(thread.name)
        assert running.ends_at > running.started_at
        assert {"requested", "pulling", "booting"} <= running.phases.keys()

        ended = eventually(lambda: (seen := thread.sandbox())["state"] == "stopped" and seen, seconds=60)
        assert ended["reason"] == "nothing was going on for a while"

        answer = tab.answer(tab.ask("say I am back"))
        assert "I am back" in answer.text
        assert (thread.sandbox()["state"], thread.sandbox()["generation"]) == ("running", 2)
    thread.close()


def test_sweeper_sweeps(stack):
    """The deployed function takes the schedule's event, and may do all it has to do."""
    functions = client("lambda", stack.aws_url)
    event = b'{"detail-type": "Scheduled Event", "source": "aws.events"}'
    told = functions.invoke(FunctionName=FUNCTION, Payload=event)
    said = told["Payload"].read()
    assert "FunctionError" not in told, said
