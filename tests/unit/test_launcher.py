"""What RunTask is called with."""

import boto3
import pytest
from botocore.stub import ANY, Stubber

from sandbox_ctl.launcher import FargateLauncher
from sandbox_ctl.sandboxes import Detail, Launch, Sandbox, State
from threadbox.errors import SandboxUnavailableError
from threadbox.identifiers import thread_hash

ARN = "arn:aws:ecs:us-east-1:000000000000:task/threadbox/1"


def sandbox(**changes):
    row = {
        "thread_id": "t" * 128,
        "state": State.STARTING,
        "detail": Detail.REQUESTED,
        "generation": 3,
        "launch": Launch(task_definition="sandbox:1", environment={"B": "2", "A": "1"}, key_id="k"),
        "requested_at": 1_800_000_000,
        "phase_at": 1_800_000_000,
    }
    return Sandbox.model_validate(row | changes)


@pytest.fixture
def ecs():
    return boto3.client("ecs", endpoint_url="http://127.0.0.1:1")


@pytest.fixture
def launcher(ecs):
    return FargateLauncher(ecs=ecs, cluster="c", subnets=["subnet-1"], security_group="sg-1", public_address=True)


def expected(token):
    return {
        "cluster": "c",
        "taskDefinition": "sandbox:1",
        "launchType": "FARGATE",
        "count": 1,
        "clientToken": token,
        "startedBy": thread_hash("t" * 128),
        "networkConfiguration": ANY,
        "overrides": {
            "containerOverrides": [
                {"name": "sandbox", "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
            ]
        },
    }


def test_same_row_is_the_same_call_and_another_start_is_another(ecs, launcher):
    """The token is made of what is stored: a generation that a restored table counts again is not mistaken."""
    tokens = []
    for requested_at in (1_800_000_000, 1_800_000_000, 1_800_000_009):
        token = f"{thread_hash('t' * 128)}-3-{requested_at}"
        with Stubber(ecs) as stub:
            stub.add_response("run_task", {"tasks": [{"taskArn": ARN}]}, expected(token))
            assert ARN == launcher.launch(sandbox(requested_at=requested_at))
        tokens.append(token)
        assert len(token) <= 64
    assert tokens[0] == tokens[1] != tokens[2]


def test_no_room_and_throttling_are_the_same_to_the_user(ecs, launcher):
    """Neither an empty answer nor an error of ECS reaches anybody as what it was."""
    with Stubber(ecs) as stub:
        stub.add_response("run_task", {"tasks": [], "failures": [{"reason": "RESOURCE:CPU"}]})
        stub.add_client_error("run_task", "ThrottlingException", "Rate exceeded")
        for _ in range(2):
            with pytest.raises(SandboxUnavailableError) as caught:
                launcher.launch(sandbox())
            assert "Rate" not in str(caught.value)
            assert caught.value.retry_after


def test_task_is_told_as_it_is(ecs, launcher):
    """Address, end and exit code come out of DescribeTasks; an unknown task counts as stopped."""
    running = {
        "taskArn": ARN,
        "lastStatus": "RUNNING",
        "attachments": [{"details": [{"name": "privateIPv4Address", "value": "10.0.0.7"}]}],
    }
    stopped = {
        "taskArn": ARN,
        "lastStatus": "STOPPED",
        "stoppedReason": "Essential container in task exited",
        "containers": [{"exitCode": 137}],
    }
    with Stubber(ecs) as stub:
        for tasks in ([running], [stopped], []):
            stub.add_response("describe_tasks", {"tasks": tasks})
        alive, over, unknown = (launcher.describe(ARN) for _ in range(3))

    assert (True, False, "10.0.0.7") == (alive.running, alive.stopped, alive.address)
    assert (True, "Essential container in task exited (exit code 137)") == (over.stopped, over.reason)
    assert unknown.stopped


def test_end_of_its_own_is_told_in_words(ecs, launcher):
    """What sandboxd ends with means something; the container is over as soon as only its network is left to go."""
    ending = {
        "taskArn": ARN,
        "lastStatus": "DEPROVISIONING",
        "containers": [{"exitCode": 6}],
        "stoppedReason": "Essential",
    }
    with Stubber(ecs) as stub:
        stub.add_response("describe_tasks", {"tasks": [ending]})
        over = launcher.describe(ARN)
    assert (True, False, "nothing was going on for a while") == (over.stopped, over.missing, over.reason)


def test_tasks_that_are_to_run_are_listed_page_by_page(ecs, launcher):
    """All of them, or those of one thread; a filter by who started them stands alone."""
    alive = {"taskArn": ARN, "lastStatus": "PENDING", "desiredStatus": "RUNNING", "startedBy": "h"}
    asked = {"taskArn": f"{ARN}0", "lastStatus": "RUNNING", "desiredStatus": "STOPPED"}
    with Stubber(ecs) as stub:
        stub.add_response("list_tasks", {"taskArns": [ARN], "nextToken": "more"}, {"cluster": "c"})
        stub.add_response("describe_tasks", {"tasks": [alive]}, {"cluster": "c", "tasks": [ARN]})
        stub.add_response("list_tasks", {"taskArns": [f"{ARN}0"]}, {"cluster": "c", "nextToken": "more"})
        stub.add_response("describe_tasks", {"tasks": [asked]})
        assert [(ARN, "h")] == [(task.arn, task.started_by) for task in launcher.alive()]

        mine = {"cluster": "c", "startedBy": thread_hash("t")}
        stub.add_response("list_tasks", {"taskArns": []}, mine)
        assert [] == launcher.alive("t")

        stub.add_client_error("list_tasks", "ThrottlingException", "Rate exceeded")
        with pytest.raises(SandboxUnavailableError):
            launcher.alive()
