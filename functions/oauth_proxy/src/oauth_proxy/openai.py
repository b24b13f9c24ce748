"""
All that is OpenAI's in this function: how its sign-in looks through OpenCode.

Another provider, or a client id of one's own, is put in here, in sandboxd's adapter and in ``threadbox.grants``.
Addresses, client id and the claims of its tokens are OpenCode's business; nothing here calls the provider.
"""

import hashlib
import re
from enum import IntEnum
from urllib.parse import parse_qs, urlsplit

from threadbox.grants import CODEX as PROVIDER

__all__ = ["PROVIDER", "SECONDS", "Method", "state_hash", "state_of", "user_code"]


class Method(IntEnum):
    """The ways to sign in, by OpenCode's index of them (measured, opencode 1.18.33)."""

    BROWSER = 0
    DEVICE = 1


SECONDS = {Method.BROWSER: 290, Method.DEVICE: 900}
"""How long an attempt may take at most. OpenCode listens 300 s for the browser, and for ever asks about a code."""

_USER_CODE = re.compile(r"\bcode:?\s+([A-Z0-9]{3,8}(?:-[A-Z0-9]{3,8})+)(?![\w-])", re.IGNORECASE)


def user_code(instructions: str | None) -> str | None:
    """Return the code in OpenCode's instructions (``Enter code: ABCD-0001``), or None when they look otherwise."""
    found = _USER_CODE.search(instructions or "")
    return found[1] if found else None


def state_of(url: str) -> str | None:
    """Return the ``state`` with which the provider will send the browser back, or None when *url* has none."""
    return next(iter(parse_qs(urlsplit(url).query).get("state", [])), None)


def state_hash(state: str) -> str:
    """Return what is stored of a state: it comes back through the browser, and is matched once."""
    return hashlib.sha256(state.encode()).hexdigest()
