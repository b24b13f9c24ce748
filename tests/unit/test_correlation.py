"""What belongs together has one correlation id, in every function and in the sandbox."""

import ast
import asyncio
import json
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from chat.opencode import OpenCodeClient
from chat.turn import correlation_of
from oauth_proxy.sandbox import SigninClient
from sandbox_ctl.daemon import DaemonClient
from sandbox_ctl.workspaces import WorkspaceClient
from tests.controlling import Controlling
from tests.operators import logged
from tests.unit.test_conversation import World
from threadbox.control import Access, Reply, SandboxControlClient
from threadbox.errors import AppError
from threadbox.telemetry import CORRELATION_HEADER, correlate, correlation, logger

ROOT = Path(__file__).parents[2]
ACCESS = Access(url="http://sandbox", token="t", expires_in=60, generation=1, session_id="ses_1")


@pytest.mark.parametrize("path", sorted(ROOT.glob("functions/*/src/*/handler.py")), ids=lambda path: path.parent.name)
def test_every_handler_begins_with_it(path):
    """Before anything is logged; of whichever event."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    handlers = [node for node in functions if any("lambda_context" in ast.unparse(d) for d in node.decorator_list)]
    assert handlers
    for handler in handlers:
        first = next(node for node in handler.body if not _is_docstring(node))
        assert ast.unparse(first).startswith("correlate("), f"{path}: {handler.name}"


def _is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


class FakeLambda:
    """Lambda, which notes what it was invoked with."""

    def __init__(self):
        self.payloads = []

    def invoke(self, *, FunctionName, Payload):  # noqa: N803 - boto3's names
        self.payloads.append(json.loads(Payload))
        return {"Payload": BytesIO(Reply(stopped=True).model_dump_json(exclude_none=True).encode())}


def test_it_goes_along_to_sandbox_ctl():
    """Where there is one."""
    client = FakeLambda()
    control = SandboxControlClient(client=client, function="sandbox-ctl")
    control.stop("t")
    correlate("abc")
    control.stop("t")

    operation = {"operation": "stop", "thread_id": "t"}
    assert [operation, {**operation, "correlation_id": "abc"}] == client.payloads


def _opencode(transport):
    async def ask():
        async with httpx.AsyncClient(transport=transport) as http:
            await OpenCodeClient(http=http).messages(ACCESS)

    asyncio.run(ask())


def _signin(transport):
    SigninClient(http=httpx.Client(transport=transport)).begin(ACCESS, "a")


@pytest.fixture
def running(table, clock):
    controlling = Controlling(table, clock)
    controlling.runs()
    return controlling.service


@pytest.mark.parametrize("client", ["turn", "signin", "control", "workspace"])
def test_it_goes_along_to_the_sandbox(running, client):
    """With every call that is made to sandboxd, by whichever function."""
    seen = []

    def answer(request):
        seen.append(request.headers.get(CORRELATION_HEADER))
        return httpx.Response(500)

    transport = httpx.MockTransport(answer)
    calls = {
        "turn": lambda: _opencode(transport),
        "signin": lambda: _signin(transport),
        "control": lambda: DaemonClient(http=httpx.Client(transport=transport), signer=running.signer).hello(
            running.get("t")
        ),
        "workspace": lambda: WorkspaceClient(
            sandboxes=running, http=httpx.Client(transport=transport), signer=running.signer
        ).send("t", "GET", "/sandboxd/files", seconds=1),
    }
    for known in (None, "abc"):
        correlate(known)
        with pytest.raises(AppError):
            calls[client]()

    assert [None, "abc"] == seen


def test_turn_has_the_id_that_its_answer_shows(table, clock, messages, cuts, output):
    """Every function that works for it makes the same of the request's id; the answer's message is named after it."""
    world = World(table, clock, messages, cuts)
    world.connect("c1")
    world.ask("c1", "r1")

    assert correlation_of("r1") == correlation()
    assert f"asst_{correlation()}" == world.turns.find("t").answer_id
    (line,) = logged(output(), "turn requested")
    assert (correlation(), "c1", "claimed") == (line["correlation_id"], line["connection_id"], line["result"])


def test_line_bears_it(output):
    """Under the name that is asked for."""
    correlate("abc")
    logger.info("said")
    assert "abc" == logged(output(), "said")[0]["correlation_id"]
