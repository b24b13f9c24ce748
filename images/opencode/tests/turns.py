"""Turns of a conversation, as whoever reads the events sees them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from harness import Sandboxd, ScriptedModel, turn_of


def asked(sandboxd: Sandboxd, text: str = "hi", *, model: str | None = None) -> list[dict[str, Any]]:
    """The events of a turn; unless told otherwise, one that names no model."""
    with sandboxd.events() as lines:
        next(lines)
        sandboxd.prompt(text, model=model)
        return turn_of(lines)


def model_of(turn: list[dict[str, Any]]) -> str:
    """The provider that answered."""
    infos = [line["event"]["properties"].get("info", {}) for line in turn]
    return str(next(info["providerID"] for info in reversed(infos) if info.get("role") == "assistant"))


def restarts(turn: list[dict[str, Any]]) -> list[str]:
    return [line["event"]["properties"]["reason"] for line in turn if line["event"]["type"] == "opencode.restarted"]


def errors(turn: list[dict[str, Any]]) -> list[str]:
    """What went wrong in it, in words."""
    failed = [line["event"]["properties"] for line in turn if line["event"]["type"] == "session.error"]
    return [str(properties["error"]["data"]["message"]) for properties in failed]


def until_tool_runs(lines: Iterator[dict[str, Any]]) -> None:
    """Read on to where a tool is at work."""
    for line in lines:
        part = line.get("event", {}).get("properties", {}).get("part", {})
        if part.get("type") == "tool" and part["state"]["status"] == "running":
            return
    raise AssertionError("the stream ended before")


@contextlib.contextmanager
def turn_under_way(sandboxd: Sandboxd, model: ScriptedModel) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """A turn whose model holds on; what is yielded lets it go on and returns its events."""
    with sandboxd.events() as lines:
        next(lines)
        sandboxd.prompt("hold")
        begun = [next(lines)]
        while begun[-1].get("event", {}).get("type") != "message.part.delta":
            begun.append(next(lines))

        def finish() -> list[dict[str, Any]]:
            model.release.set()
            return [*begun, *turn_of(lines)]

        yield finish
