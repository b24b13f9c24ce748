"""What `make smoke` and `make outputs` say, without a stack: calls answered by a transport, a socket by a script."""

import json
from contextlib import nullcontext

import httpx
import pytest

from operate.outputs import told
from operate.smoke import Smoke
from operate.steps import StepFailedError, Steps

OUTPUTS = {
    "HttpUrl": "https://h.example",
    "WebSocketUrl": "wss://w.example/live",
    "SessionSecretArn": "arn:secret",
}


class ScriptedSocket:
    """Answers the question it is asked with the given chunks and a last frame."""

    def __init__(self, *chunks: dict, last: dict) -> None:
        self.frames = [{"body": json.dumps(chunk), "done": False} for chunk in chunks] + [
            {"body": "", "done": True, **last}
        ]

    def send(self, text: str) -> None:
        self.request_id = json.loads(text)["id"]

    def recv(self, timeout: float, *, decode: bool) -> str:
        if not self.frames:
            raise TimeoutError
        return json.dumps({"type": "cf_agent_use_chat_response", "id": self.request_id, **self.frames.pop(0)})


HELLO = {"type": "text-delta", "delta": "Hello."}
GOOD = {"outcome": "completed"}


@pytest.fixture
def smoke():
    """Runs against answers by method and path, each the given one or a good one; returns what was said and called."""

    def smoke(socket: ScriptedSocket, **changed: httpx.Response) -> tuple[list[str], list[str]]:
        calls: list[str] = []
        deletions = iter([{"messages": 2, "turns": 1}, {"messages": 0, "turns": 0}])

        def answer(request: httpx.Request) -> httpx.Response:
            place = f"{request.method} {request.url.path.split('/')[1]}"
            calls.append(place)
            if (other := changed.get(place.replace(" ", "_"))) is not None:
                return other
            good = {
                "GET health": {"ok": True, "version": "1.2.3"},
                "GET agents": [{"role": "user"}, {"role": "assistant"}],
                "GET api": {"state": "stopped"},
            }
            if request.url.path.startswith("/api/threads"):
                return httpx.Response(200, json={"removed": next(deletions)})
            return httpx.Response(200, json=good.get(place, {}))

        lines: list[str] = []
        http = httpx.Client(base_url="https://h.example", transport=httpx.MockTransport(answer))
        secret = {"kid": "session-1", "key": "k" * 64}
        run = Smoke(
            http=http,
            socket_url="wss://w.example/live",
            secret=lambda: secret,
            seconds=5,
            connect=lambda _: nullcontext(socket),
        )
        try:
            run.run(Steps(lines.append))
        except StepFailedError as failed:
            lines.append(f"failed at {failed}")
        return lines, calls

    return smoke


def test_each_step_has_a_line(smoke):
    """With the version, how far the start came, and the answer."""
    start = {"type": "data-sandbox", "data": {"state": "starting", "detail": "pulling"}}
    lines, _ = smoke(ScriptedSocket(start, HELLO, last=GOOD))

    assert ["ok", "ok", "…", "ok", "ok", "ok", "ok"] == [line.split()[0] for line in lines]
    assert "version 1.2.3" in lines[0]
    assert "starting pulling" in lines[2]
    assert "Hello." in lines[3]
    assert "removed: 2 messages, 1 turns" in lines[-1]


@pytest.mark.parametrize(
    ("chunks", "last", "told"),
    [
        ([], {"error": True, "code": "sandbox_unavailable", "body": "Try again."}, "sandbox_unavailable: Try again."),
        ([HELLO], {"outcome": "aborted"}, "ended as aborted"),
        ([], GOOD, "not a word"),
    ],
)
def test_bad_answer_fails_and_its_thread_is_deleted_all_the_same(smoke, chunks, last, told):
    """What ended it is said; the rest is left out."""
    lines, calls = smoke(ScriptedSocket(*chunks, last=last))

    (failed,) = (line for line in lines if line.startswith("FAILED"))
    assert told in failed
    assert "failed at answer" == lines[-1]
    assert ["GET health", "DELETE api", "DELETE api"] == calls


def test_answer_that_does_not_come_is_given_up(smoke):
    """Within the time that it may take."""
    socket = ScriptedSocket(last=GOOD)
    socket.frames.clear()

    assert "the answer takes too long" in smoke(socket)[0][2]


def test_stack_that_does_not_answer_is_asked_nothing_else(smoke):
    """Its status and its words are shown."""
    lines, calls = smoke(ScriptedSocket(last=GOOD), GET_health=httpx.Response(502, text="bad gateway"))

    assert "GET /health answers 502: bad gateway" in lines[0]
    assert ["GET health"] == calls


def test_outputs_end_with_what_a_page_takes():
    """The names are those of the snippet in docs/migration.md."""
    lines = told(OUTPUTS).splitlines()

    assert '  http: "https://h.example",' in lines
    assert '  host: "w.example",' in lines
    assert '  basePath: "live",' in lines
    assert lines[-1].endswith("arn:secret")
