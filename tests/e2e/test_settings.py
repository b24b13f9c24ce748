"""A stack with other settings than the usual ones: models, their keys, and limits of time."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.stack.aws_clients import client
from local.stack.stack_file import StackFile
from tests.e2e.scripted_anthropic import ANSWER, ScriptedAnthropic, scripted_anthropic
from tests.e2e.threads import Thread
from tests.e2e.turn_settings import turn_settings
from tests.stacks import own_stack, stack_file, tokens_of

pytestmark = [pytest.mark.long, pytest.mark.own_stack]

KEYS = {
    "MODEL_API_KEY": "canary-default-1f",
    "ANTHROPIC_API_KEY": "canary-anthropic-2e",
    "OPENAI_API_KEY": "canary-o-3d",
}


@pytest.fixture(scope="module")
def anthropic() -> Iterator[ScriptedAnthropic]:
    with scripted_anthropic() as anthropic:
        yield anthropic


@pytest.fixture(scope="module")
def state(anthropic, tmp_path_factory) -> Iterator[Path]:
    """The state directory of a stack of its own, with a key for every provider."""
    settings = KEYS | {"ANTHROPIC_API_URL": anthropic.url}
    with own_stack(tmp_path_factory.mktemp("keys"), settings) as state:
        yield state


@pytest.fixture(scope="module")
def keyed(state) -> StackFile:
    return stack_file(state)


@pytest.fixture(scope="module")
def thread(keyed) -> Iterator[Thread]:
    thread = Thread(keyed, tokens_of(keyed))
    yield thread
    thread.close()


def models(thread: Thread) -> httpx.Response:
    """Ask for the thread's models, again while its sandbox starts."""
    for _ in range(3):
        answer = thread.http.get(f"/api/sandbox/{thread.name}/models")
        if answer.status_code != 503:
            break
    return answer


def test_models_of_all_keys_are_offered(thread):
    """On a new thread too: the list waits for the sandbox. One model is the default, one of a provider with a key."""
    offered = models(thread).json()

    assert {"anthropic", "openai-api", "default"} == {offer["provider"] for offer in offered}
    assert ["anthropic"] == [offer["provider"] for offer in offered if offer["default"]]
    assert {"provider": "default", "id": "demo", "name": "demo", "default": False} in offered


def test_chat_goes_to_the_default_or_to_the_model_it_names(thread, anthropic):
    """The key reaches its provider, and no other does."""
    with thread.tab() as tab:
        default = tab.answer(tab.ask("hello"))
        named = tab.answer(tab.ask("say demo", model="default/demo"))

    assert (ANSWER, "demo") == (default.text, named.text)
    assert {KEYS["ANTHROPIC_API_KEY"]} == set(anthropic.keys)


def test_keys_are_in_no_definition_override_log_or_file_of_a_sandbox(thread, keyed, state):
    """Everything that AWS can be asked about a task and a function, and everything that was written down."""
    ecs = client("ecs", f"http://127.0.0.1:{keyed.ports['ecs']}")
    cluster = keyed.outputs["ClusterArn"]
    tasks = ecs.describe_tasks(cluster=cluster, tasks=ecs.list_tasks(cluster=cluster)["taskArns"])["tasks"]
    assert tasks
    definition = client("ecs", keyed.aws_url).describe_task_definition(taskDefinition="threadbox-sandbox")
    functions = client("lambda", keyed.aws_url).list_functions()["Functions"]
    told = json.dumps([tasks, definition, functions], default=str)
    folders = [state / "logs", state / "sandboxes"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files

    assert [key for key in KEYS.values() if key in told] == []
    assert [path for path in files for key in KEYS.values() if key.encode() in path.read_bytes()] == []


def test_keys_cannot_be_printed_by_a_command_of_the_agent(thread):
    """Not from its environment, not from any process it can see, and not from the files that it can read."""
    # In a shell of its own, whose paths OpenCode does not ask about; and the keys not as they are, since the search is
    # not to find what it looks for in its own command.
    search = (
        "sh -c 'env > seen; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline >> seen 2> errors;"
        " find ~ . -type f -size -9999k -exec cat {} + >> seen 2> errors;"
        ' grep -a -c "OPENCODE_" seen; grep -a -c "[c]anary-" seen\'; true'
    )
    with thread.tab() as tab:
        answer = tab.answer(tab.ask(f"run: {search}", model="default/demo"))

    *_, last = [chunk["output"] for chunk in answer.chunks if chunk["type"] == "tool-output-available"]
    opencodes_own, keys = last["output"].split()
    assert int(opencodes_own) > 0
    assert "0" == keys


def test_ask_that_nobody_answers_ends(keyed, thread):
    """After its time the agent is told no, and the turn goes on to its end without the user."""
    with turn_settings(keyed, ASK_SECONDS=2), thread.tab() as tab:
        answer = tab.answer(tab.ask("run: rm -rf nothing-of-that-name", model="default/demo"))

    kinds = answer.kinds()
    assert kinds.index("tool-approval-request") < kinds.index("tool-output-denied")
    assert answer.outcome in ("completed", "aborted")


def test_answer_that_takes_too_long_ends(keyed, thread):
    """At its limit a turn is ended with a sentence; what came so far is kept, and the next message is answered."""
    with turn_settings(keyed, TURN_SECONDS=12), thread.tab() as tab:
        ended = tab.answer(tab.ask("slow 60: a long story", model="default/demo"))
    with thread.tab() as tab:
        after = tab.answer(tab.ask("say fine", model="default/demo"))

    assert ("error", "opencode_error") == (ended.outcome, ended.last["code"])
    assert "too long" in ended.last["body"]
    said = [ended.text] if ended.text else []
    assert ["slow 60: a long story", *said, "say fine", "fine"] == thread.texts()[-3 - len(said) :]
    assert "fine" == after.text
