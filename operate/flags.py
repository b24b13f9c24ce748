"""The document of feature flags: what a switch makes of it, and how it is told (docs/rollout.md)."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from sandbox_ctl.rollout import SANDBOXES, STOPPED

Document = dict[str, Any]
Switch = Literal["all", "off", "list", "stop", "resume"]

ON: Document = {"default": True}
OFF: Document = {"default": False}


def switched(document: Document, switch: Switch, users: Sequence[str] = ()) -> Document:
    """Return what the flags become: who may have a sandbox, or whether there are new ones at all, each by itself."""
    match switch:
        case "all":
            return {**document, SANDBOXES: ON}
        case "off":
            return {**document, SANDBOXES: OFF}
        case "list":
            return {**document, SANDBOXES: _listed(users)}
        case "stop":
            return {**document, STOPPED: ON}
        case "resume":
            return {**document, STOPPED: OFF}


def told(document: Document) -> str:
    """Return the flags in words, or as they are if somebody wrote them without this command."""
    who, stopped = document.get(SANDBOXES), document.get(STOPPED)
    words = {_text(ON): "for everybody", _text(OFF): "for nobody", _text(_listed(_users(who))): "for the listed"}
    lines = [f"sandboxes: {words.get(_text(who), _text(who))}", *(f"  {user}" for user in _users(who))]
    if stopped != OFF:
        lines.append("no new ones are started" if stopped == ON else f"stopped: {_text(stopped)}")
    return "\n".join(lines)


def _listed(users: Sequence[str]) -> Document:
    condition = {"action": "KEY_IN_VALUE", "key": "user_id", "value": list(users)}
    return {**OFF, "rules": {"listed": {"when_match": True, "conditions": [condition]}}}


def _users(who: Any) -> list[str]:
    """Return whom a list names; nobody when it is none."""
    try:
        (condition,) = who["rules"]["listed"]["conditions"]
        users = list(condition["value"])
    except (KeyError, TypeError, ValueError):
        return []
    return users if who == _listed(users) else []


def _text(part: Any) -> str:
    return json.dumps(part, sort_keys=True)
