"""``make up`` and ``make down`` themselves, on a stack of their own beside the one the other tests share."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from local.stack.aws_clients import client
from local.stack.marks import mark_of, marked_processes
from local.stack.ports import Ports
from local.stack.session_token import session_token
from local.stack.stack_file import StackFile
from tests.stacks import ROOT, UP_SECONDS, run_stack, stack_file
from tests.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.own_stack]

SECOND_UP_SECONDS = 15


def answers(url: str) -> bool:
    """Whether there is a 2xx at that address."""
    try:
        return httpx.get(url, timeout=30).is_success
    except httpx.TransportError:
        return False


def opened(file: StackFile) -> ClientConnection:
    """A socket of a thread, to be closed by whoever asked for it."""
    token = session_token(file, thread="t", user="ann", ttl=60)
    return connect(f"{file.ws_url}?thread=t&token={token}", open_timeout=30)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state directory of a stack whose first ``up`` was interrupted half-way, and done again."""
    state = tmp_path_factory.mktemp("stack")
    environment = os.environ | {"THREADBOX_STATE": str(state)}
    try:
        # Where these tests themselves run in the background, Ctrl-C is ignored, and so it would be by the child.
        interrupted = subprocess.Popen(
            ["env", "--default-signal=INT", sys.executable, "-m", "local.stack", "up"],
            cwd=ROOT, env=environment, start_new_session=True,
        )  # fmt: skip
        eventually((state / "logs" / "sam-deploy.log").exists, seconds=UP_SECONDS)
        os.killpg(interrupted.pid, signal.SIGINT)
        assert interrupted.wait(timeout=20) == 130
        assert not (state / "stack.json").exists()

        done = run_stack("up", state=state)
        assert done.returncode == 0, done.stderr
        yield state
    finally:
        assert run_stack("down", state=state).returncode == 0


def test_a_second_up_is_quick_and_changes_nothing(state):
    """
    Everything runs on as it is.
    """
    before = stack_file(state)

    start = time.monotonic()
    done = run_stack("up", state=state)

    assert time.monotonic() - start < SECOND_UP_SECONDS
    assert before.web_url in done.stdout
    assert stack_file(state) == before
    assert run_stack("status", state=state).returncode == 0


def test_two_stacks_run_side_by_side(stack, state):
    """
    Neither their ports nor their sandboxes' networks meet.
    """
    other = stack_file(state)

    assert not set(stack.ports.values()) & set(other.ports.values())
    for file in (stack, other):
        assert answers(file.web_url)
        assert answers(f"{file.http_url}/health")


@pytest.mark.parametrize("part", ["aws", "gateway", "ecs", "web", "idp"])
def test_a_killed_part_is_brought_back(state, part):
    """
    Whatever was killed, the next ``up`` ends with a stack that answers, at the same address. Sockets end at once with
    what serves them, so that whoever waits for an answer comes back.
    """
    before = stack_file(state)
    with opened(before) as tab:
        os.kill(before.pids[part], signal.SIGKILL)
        if part in {"aws", "gateway"}:
            with pytest.raises(ConnectionClosed):
                tab.recv(timeout=5)

    done = run_stack("up", state=state)

    assert done.returncode == 0, done.stderr
    after = stack_file(state)
    assert after.web_url == before.web_url
    changed = {name for name in after.pids if after.pids[name] != before.pids[name]}
    # The embedded AWS comes back with other secrets, which the page's backend has to read.
    assert changed == ({"aws", "web"} if part == "aws" else {part})
    assert answers(f"{after.http_url}/health")
    with opened(after) as tab:
        tab.send('{"type": "cf_agent_stream_resume_request", "probeId": "p"}')
        assert "cf_agent_stream_resume_none" in tab.recv(timeout=30)


def test_down_leaves_nothing_and_up_finds_the_data_again(state):
    """
    No process and no port is left, not even a sandbox; what was stored is there after the next ``up``.
    """
    file = stack_file(state)
    item = {"thread_id": {"S": "kept"}, "sk": {"S": "META"}}
    client("dynamodb", file.aws_url).put_item(TableName=file.outputs["TableName"], Item=item)
    ecs = client("ecs", f"http://127.0.0.1:{file.ports['ecs']}")
    ecs.run_task(cluster=file.outputs["ClusterArn"], taskDefinition="threadbox-sandbox")

    done = run_stack("down", state=state)

    assert done.returncode == 0, done.stderr
    assert list(marked_processes(mark_of(state))) == []
    assert Ports(file.ports["aws"]).busy() == []
    assert run_stack("status", state=state).returncode == 1
    assert run_stack("up", state=state).returncode == 0
    table = client("dynamodb", file.aws_url)
    assert table.get_item(TableName=file.outputs["TableName"], Key=item)["Item"] == item


def test_a_changed_setting_takes_effect(state):
    """
    Another model than the demo one, and the real identity provider: what stands for them is not started any more,
    and the functions and the page know.
    """
    settings = {"MODEL_BASE_URL": "http://127.0.0.1:9/v1", "MODEL_API_KEY": "canary", "REAL_CODEX": "1"}
    settings |= {"CODEX_CALLBACK_TIMEOUT_SECONDS": "61", "CODEX_ABANDON_SECONDS": "31", "CODEX_HOP_SECONDS": "2"}
    settings |= {"SANDBOX_IDLE_SECONDS": "77", "SANDBOXES_PER_USER": "2", "TURNS_PER_MINUTE": "9"}
    done = run_stack("up", state=state, settings=settings)

    assert done.returncode == 0, done.stderr
    file = stack_file(state)
    assert "model" not in file.pids
    assert ("idp" in file.pids, file.idp_url) == (False, None)
    assert httpx.get(f"{file.web_url}/config.json").json()["idp_url"] is None
    functions = client("lambda", file.aws_url)
    variables = functions.get_function_configuration(FunctionName="threadbox-sandbox-ctl")["Environment"]["Variables"]
    assert variables["MODEL_BASE_URL"] == "http://127.0.0.1:9/v1"
    assert variables["SANDBOXES_PER_USER"] == "2"
    assert "canary" not in json.dumps(variables)
    ecs = client("ecs", file.aws_url)
    definition = ecs.describe_task_definition(taskDefinition=variables["TASK_DEFINITION"])["taskDefinition"]
    assert {"name": "SANDBOXD_IDLE_SECONDS", "value": "77"} in definition["containerDefinitions"][0]["environment"]
    chat = functions.get_function_configuration(FunctionName="threadbox-chat-socket")["Environment"]["Variables"]
    assert chat["TURNS_PER_MINUTE"] == "9"
    for name in ("threadbox-oauth-http", "threadbox-oauth-step"):
        times = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        told = {"CODEX_CALLBACK_TIMEOUT_SECONDS": "61", "CODEX_ABANDON_SECONDS": "31", "HOP_SECONDS": "2"}
        assert told.items() <= times.items()
        assert times["WEB_APP_URL"].startswith(file.web_url)
    secret = client("secretsmanager", file.aws_url).get_secret_value(SecretId=variables["MODEL_KEYS_SECRET_ARN"])
    assert json.loads(secret["SecretString"]) == {"default": "canary"}
