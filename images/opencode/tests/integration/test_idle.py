"""A sandbox that nobody needs ends by itself, and one that somebody needs does not."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from harness import Sandboxd, ScriptedModel, Start, turn_of

IDLE, TOO_OLD = 6, 7


def test_idle_ends_it_while_tabs_look_on(start: Start, model: ScriptedModel) -> None:
    """A turn that says nothing for longer keeps it; then neither an open reader nor questions for the status do."""
    with start(idle_seconds=1) as sandboxd:
        sandboxd.bind(model)
        assert sandboxd.until_ready()["state"] == "ready"
        with sandboxd.events() as lines:
            next(lines)
            outlives_a_turn(sandboxd, model, lines, seconds=2)
            quiet = time.monotonic()
            until_ended(sandboxd, seconds=15)
            assert time.monotonic() - quiet > 0.8
        assert sandboxd.process.wait(10) == IDLE


def test_old_one_ends_after_its_turn(start: Start, model: ScriptedModel) -> None:
    """Not in the middle of it; and what comes once it has decided is refused in words, or finds nobody."""
    with start(life_seconds=2) as sandboxd:
        sandboxd.bind(model)
        assert sandboxd.until_ready()["state"] == "ready"
        with sandboxd.events() as lines:
            next(lines)
            outlives_a_turn(sandboxd, model, lines, seconds=3)
        until_ended(sandboxd, seconds=15)
        assert sandboxd.process.wait(10) == TOO_OLD


def outlives_a_turn(
    sandboxd: Sandboxd, model: ScriptedModel, lines: Iterator[dict[str, Any]], *, seconds: float
) -> None:
    """Have a turn that says nothing for so long, see that the sandbox goes on meanwhile, and let the turn end."""
    model.release.clear()
    sandboxd.prompt("hold")
    with pytest.raises(TimeoutError):
        until_ended(sandboxd, seconds=seconds)
    model.release.set()
    turn_of(lines)


def until_ended(sandboxd: Sandboxd, *, seconds: float) -> None:
    """
    Ask for the status until it is that of a sandbox that ends, or nobody answers; of that one nothing else is had.

    Raises:
        TimeoutError: it went on.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            status = sandboxd.turn_call("GET", "/sandboxd/status?wait=0").json()
            if status["state"] == "stopping":
                path = f"/session/{status['session_id']}/prompt_async"
                refused = sandboxd.turn_call("POST", path, {"parts": [{"type": "text", "text": "hi"}]})
                assert (refused.status_code, refused.json()["code"]) == (503, "ending")
                return
        except httpx.TransportError:
            return
        threading.Event().wait(0.05)
    raise TimeoutError
