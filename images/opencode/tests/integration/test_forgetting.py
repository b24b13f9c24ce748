"""Making the agent forget: what the routes for it do to the session, to the model's context, and to the workspace."""

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import Sandboxd, ScriptedModel, Start, turn_of

pytestmark = pytest.mark.facts


@pytest.fixture
def talk(ready: Sandboxd) -> "Talk":
    """A conversation of one's own: the one before is forgotten."""
    return Talk(ready)


class Talk:
    """Asks with ids of the caller's, and looks at what is left."""

    def __init__(self, sandboxd: Sandboxd) -> None:
        self.sandboxd = sandboxd
        self.session = sandboxd.turn_call("POST", "/sandboxd/session", {}).json()["session_id"]

    def ask(self, text: str) -> str:
        part = f"prt_{secrets.token_hex(16)}"
        with self.sandboxd.events() as lines:
            next(lines)
            body = {
                "parts": [{"id": part, "type": "text", "text": text}],
                "model": {"providerID": "default", "modelID": "demo"},
            }
            assert self.sandboxd.turn_call("POST", f"/session/{self.session}/prompt_async", body).status_code == 204
            turn_of(lines)
        return part

    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.sandboxd.turn_call("GET", f"/session/{self.session}/message").json()
        return found

    def delete_from(self, part: str) -> None:
        messages = self.messages()
        (first,) = [n for n, message in enumerate(messages) if part in [each["id"] for each in message["parts"]]]
        for message in reversed(messages[first:]):
            path = f"/session/{self.session}/message/{message['info']['id']}"
            assert self.sandboxd.turn_call("DELETE", path).status_code == 200


def context(model: ScriptedModel) -> list[str]:
    """What the model was last told of the conversation, without what it said itself."""
    (*_, messages) = [
        body["messages"] for _, _, body in model.requests if "title generator" not in json.dumps(body["messages"][0])
    ]
    return [json.dumps(message["content"]).strip('"') for message in messages if message["role"] == "user"]


def test_deleted_messages_are_forgotten_and_files_stay(talk: Talk, model: ScriptedModel) -> None:
    """The model no longer hears of them; what they made is still there."""
    workspace = Path(talk.sandboxd.directory) / "workspace"
    talk.ask("hi")
    part = talk.ask("run echo one > kept.txt")
    talk.ask("and more")
    talk.delete_from(part)
    talk.ask("go on")

    assert context(model) == ["hi", "go on"]
    assert [message["info"]["role"] for message in talk.messages()] == ["user", "assistant"] * 2
    assert (workspace / "kept.txt").read_text() == "one\n"


def test_message_is_not_deleted_while_the_session_is_busy(talk: Talk, model: ScriptedModel) -> None:
    """OpenCode refuses with 409; once it is idle again it does as it is told."""
    model.release.clear()
    with talk.sandboxd.events() as lines:
        next(lines)
        body = {
            "parts": [{"type": "text", "text": "hold"}],
            "model": {"providerID": "default", "modelID": "demo"},
        }
        talk.sandboxd.turn_call("POST", f"/session/{talk.session}/prompt_async", body)
        for line in lines:
            if line.get("event", {}).get("type") == "message.part.delta":
                break
        path = f"/session/{talk.session}/message/{talk.messages()[0]['info']['id']}"
        assert talk.sandboxd.turn_call("DELETE", path).status_code == 409
        talk.sandboxd.turn_call("POST", f"/session/{talk.session}/abort", {})
        turn_of(lines)
    model.release.set()

    assert talk.sandboxd.turn_call("DELETE", path).status_code == 200


def test_session_begins_anew(talk: Talk, model: ScriptedModel) -> None:
    """The old one is gone, its successor is the thread's and knows nothing; doing it again is no different."""
    talk.ask("hi")
    before = talk.session
    statuses = [talk.sandboxd.turn_call("POST", "/sandboxd/session", {}).json() for _ in range(2)]
    talk.session = statuses[-1]["session_id"]

    assert len({before, *(status["session_id"] for status in statuses)}) == 3
    assert [talk.session] == [session["id"] for session in talk.sandboxd.call("GET", "/session").json()]
    assert talk.sandboxd.turn_call("GET", "/sandboxd/status").json()["session_id"] == talk.session
    assert talk.sandboxd.turn_call("GET", f"/session/{before}/message").status_code == 404
    talk.ask("hello again")
    assert context(model) == ["hello again"]


def test_session_begins_anew_in_the_middle_of_an_answer(talk: Talk, model: ScriptedModel) -> None:
    """What was at work is stopped, and the next prompt is answered."""
    model.release.clear()
    body = {"parts": [{"type": "text", "text": "hold"}], "model": {"providerID": "default", "modelID": "demo"}}
    with talk.sandboxd.events() as lines:
        next(lines)
        talk.sandboxd.turn_call("POST", f"/session/{talk.session}/prompt_async", body)
        for line in lines:
            if line.get("event", {}).get("type") == "message.part.delta":
                break
    talk.session = talk.sandboxd.turn_call("POST", "/sandboxd/session", {}).json()["session_id"]
    model.release.set()
    talk.ask("hi")

    assert [message["info"]["role"] for message in talk.messages()] == ["user", "assistant"]


def reverted(talk: Talk) -> bool:
    """Ask for a file, revert to before that, go on; say whether the file is gone."""
    talk.ask("hi")
    talk.ask("run echo one > reverted.txt")
    (message,) = [
        message
        for message in talk.messages()
        if any(part.get("text") == "run echo one > reverted.txt" for part in message["parts"])
    ]
    revert = f"/session/{talk.session}/revert"
    assert talk.sandboxd.call("POST", revert, {"messageID": message["info"]["id"]}).status_code == 200
    assert len(talk.messages()) == 5, "the messages go with the next prompt only"
    talk.ask("go on")
    assert len(talk.messages()) == 4
    assert talk.sandboxd.call("POST", revert, {"messageID": "msg_unknown"}).status_code == 200, "without a word"
    return not (Path(talk.sandboxd.directory) / "workspace" / "reverted.txt").exists()


def test_revert_takes_no_files_back(talk: Talk) -> None:
    """In a workspace that is no repository they stay, as they do when messages are deleted."""
    assert not reverted(talk)


def test_revert_takes_files_back_in_a_repository(start: Start, directory: Path, model: ScriptedModel) -> None:
    """Why it is not used: whether it touches files hangs on what the agent happened to do in the workspace."""
    workspace = directory / "workspace"
    workspace.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(workspace)], check=True)
    with start() as sandboxd:
        assert sandboxd.bind(model).status_code == 200
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        assert reverted(Talk(sandboxd))
