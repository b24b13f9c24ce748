"""Calling a prompt off, by the id of its part."""

import json
import secrets

import pytest
from harness import Sandboxd, ScriptedModel, answer_of, turn_of
from turns import errors, turn_under_way

pytestmark = pytest.mark.facts


def handed_over(sandboxd: Sandboxd, session: str, text: str) -> str:
    """Hand a prompt over, and return its part's id."""
    part = f"prt_{secrets.token_hex(16)}"
    body = {
        "parts": [{"id": part, "type": "text", "text": text}],
        "model": {"providerID": "default", "modelID": "demo"},
    }
    assert sandboxd.turn_call("POST", f"/session/{session}/prompt_async", body).status_code == 204
    return part


def called_off(sandboxd: Sandboxd, session: str, part: str) -> bool:
    answer = sandboxd.turn_call("POST", f"/session/{session}/abort?part={part}")
    assert answer.status_code == 200, answer.text
    return bool(answer.json())


@pytest.fixture
def session(ready: Sandboxd) -> str:
    return str(ready.call("GET", "/sandboxd/status").json()["session_id"])


@pytest.mark.parametrize("turn", range(3))
def test_abort_that_comes_at_once_waits_until_opencode_is_at_work(ready: Sandboxd, session: str, turn: int) -> None:
    """Its prompt ends as one that was stopped, which says so; a prompt that follows is answered."""
    with ready.events() as lines:
        next(lines)
        part = handed_over(ready, session, "hold")
        assert called_off(ready, session, part)
        stopped = turn_of(lines)
        handed_over(ready, session, "hi")
        # OpenCode may say twice that it has stopped.
        answer = answer_of(turn_of(lines)) or answer_of(turn_of(lines))

    assert answer == "hello"
    assert any("MessageAbortedError" in json.dumps(line) for line in stopped), turn
    assert not [error for error in errors(stopped) if "abort" not in error.lower()]


def test_abort_that_comes_late_ends_nothing(ready: Sandboxd, session: str, model: ScriptedModel) -> None:
    """OpenCode is at work on another prompt by then, which is answered to its end; nor does one of a prompt unknown."""
    with ready.events() as lines:
        next(lines)
        part = handed_over(ready, session, "hi")
        turn_of(lines)
    with turn_under_way(ready, model) as finish:
        assert not called_off(ready, session, part)
        assert not called_off(ready, session, "prt_unknown")
        turn = finish()

    assert not errors(turn)
    assert answer_of(turn).startswith("holding")
