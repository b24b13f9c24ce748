"""The newest npm client, in Node, against the running stack."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.stack.stack_file import StackFile

SCRIPT = Path(__file__).parent / "node" / "client.mjs"
SECONDS = 90

Ask = Callable[..., list[dict[str, Any]]]
History = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def thread() -> str:
    return f"node-{uuid.uuid4().hex}"


@pytest.fixture
def bearer(token: Callable[..., str], thread: str) -> str:
    return token(thread, "node")


@pytest.fixture
def ask(stack: StackFile, thread: str, bearer: str) -> Ask:
    """Sends one message and gives back every frame until the end of the answer."""
    node = shutil.which("node")
    assert node is not None

    def ask(text: str, *, cancel_after: int | None = None) -> list[dict[str, Any]]:
        more = [] if cancel_after is None else [str(cancel_after)]
        done = subprocess.run(
            [node, str(SCRIPT), stack.ws_url, thread, bearer, text, *more],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr or done.stdout
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


@pytest.fixture
def history(stack: StackFile, thread: str, bearer: str) -> History:
    """What the server has stored of the conversation."""

    def history() -> list[dict[str, Any]]:
        url = f"{stack.http_url}/agents/chat/{thread}/get-messages"
        answer = httpx.get(url, headers={"Authorization": f"Bearer {bearer}"}, timeout=30)
        answer.raise_for_status()
        messages: list[dict[str, Any]] = answer.json()
        return messages

    return history


def chunks_of(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    responses = [frame for frame in frames if frame["type"] == "cf_agent_use_chat_response"]
    assert {frame["id"] for frame in responses} == {"node-request-1"}
    assert [frame["body"] for frame in responses if frame.get("error")] == []
    return [json.loads(frame["body"]) for frame in responses if frame["body"]]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")


def parts_text(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


@pytest.mark.timeout(SECONDS + 30)
def test_a_message_is_answered(ask: Ask, history: History) -> None:
    """
    A new thread gets a sandbox, and the real OpenCode's answer arrives in pieces, in order, and ends with ``done``.
    """
    said = " ".join(f"w{n}" for n in range(60))

    frames = ask(f"say {said}")

    chunks = chunks_of(frames)
    kinds = [chunk["type"] for chunk in chunks if not chunk["type"].startswith("data-")]
    assert kinds[0] == "start"
    assert kinds.index("text-start") < kinds.index("text-delta")
    assert kinds.count("text-delta") > 1
    assert text_of(chunks) == said
    assert (frames[-1]["done"], frames[-1]["outcome"]) == (True, "completed")
    states = [chunk["data"]["state"] for chunk in chunks if chunk["type"] == "data-sandbox"]
    assert "starting" in states
    user, answer = history()
    assert (user["id"], user["role"], parts_text(user)) == ("node-message-1", "user", f"say {said}")
    assert answer["id"] == next(chunk["messageId"] for chunk in chunks if chunk["type"] == "start")
    assert (answer["role"], parts_text(answer)) == ("assistant", said)


@pytest.mark.timeout(SECONDS + 30)
def test_the_probe_is_answered(ask: Ask) -> None:
    """
    The client asks on connecting whether an answer is under way; it waits for this.
    """
    frames = ask("say yes")
    assert {
        "type": "cf_agent_stream_resume_none",
        "reason": "idle",
        "probeId": "node-probe",
    } in frames


@pytest.mark.timeout(SECONDS + 30)
def test_an_answer_can_be_stopped(ask: Ask, history: History) -> None:
    """
    A cancel ends the answer long before its end, and what came until then is kept.
    """
    frames = ask("stream 5000 words", cancel_after=3)

    got = text_of(chunks_of(frames))
    assert (frames[-1]["done"], frames[-1]["outcome"]) == (True, "aborted")
    assert "word1 " in got
    assert "word4000 " not in got
    assert parts_text(history()[1]).startswith("word1 ")


@pytest.mark.timeout(SECONDS + 60)
def test_history_is_asked_again_edited_and_cleared(
    stack: StackFile, thread: str, bearer: str, history: History
) -> None:
    """
    After each step the client shows what the server has stored, with the same ids, and the agent knows as much.
    """
    node = shutil.which("node")
    assert node is not None
    script = SCRIPT.with_name("history.mjs")
    done = subprocess.run(
        [node, str(script), stack.ws_url, thread, bearer],
        capture_output=True,
        text=True,
        timeout=SECONDS + 30,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    steps = {step["step"]: step for step in map(json.loads, done.stdout.splitlines())}

    assert {"ready"} == {step["status"] for step in steps.values()}
    texts = {name: [text for _, _, text in step["messages"]] for name, step in steps.items()}
    two = "You have sent 2 messages in this conversation."
    assert ["say one", "one", "how many messages?", two] == texts["asked"] == texts["regenerated"]
    ids = {name: [message_id for message_id, _, _ in step["messages"]] for name, step in steps.items()}
    assert ids["asked"][:3] == ids["regenerated"][:3]
    assert ids["asked"][3] != ids["regenerated"][3]
    assert ["say one", "one", "what did I say first?"] == texts["edited"][:3]
    assert "say one" in texts["edited"][3]
    assert ids["edited"][2] == ids["asked"][2]
    assert ["say one", "one"] == texts["regenerated first"]
    assert ["how many messages?", "You have sent 1 message in this conversation."] == texts["cleared"]
    assert steps["cleared"]["messages"] == [[m["id"], m["role"], parts_text(m)] for m in history()]
