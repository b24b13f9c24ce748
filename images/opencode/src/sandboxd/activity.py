"""
What keeps a sandbox busy: turns, attempts to sign in, commands, and calls that want something of it.

Being looked at is nothing: who only reads (an open tab, a reader of events, whoever asks for the status, the control
plane on its rounds) keeps no sandbox alive.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

TYPE_BYTES = 80
_WORK = (b'"type":"session.', b'"type":"message.', b'"type":"permission.', b'"type":"question.')
_READING = frozenset(("GET", "HEAD", "OPTIONS"))
_OWN_WORK = re.compile(r"/sandboxd/(session|signin)(/|$)")


class Activity:
    """What goes on, and since when nothing does."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._busy: Counter[str] = Counter()
        self._last = now()
        self._moves = 0

    @property
    def moves(self) -> int:
        """Grows with everything that happens: whoever saw it before knows whether anything has happened since."""
        return self._moves

    @property
    def busy_with(self) -> list[str]:
        """What goes on now."""
        return sorted(self._busy.elements())

    def quiet_for(self) -> float:
        """Seconds since anything happened; 0 while something goes on."""
        return 0 if self._busy else self._now() - self._last

    def touch(self) -> None:
        """Something happened."""
        self._last = self._now()
        self._moves += 1

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """*what* goes on inside."""
        self.touch()
        self._busy[what] += 1
        try:
            yield
        finally:
            self._busy[what] -= 1
            self._busy += Counter()
            self.touch()

    def see(self, event: bytes) -> None:
        """Note an event of OpenCode's, if it tells of work."""
        if any(mark in event[:TYPE_BYTES] for mark in _WORK):
            self.touch()


class Active(Protocol):
    """Whatever has an activity."""

    activity: Activity


class CountRequests:
    """ASGI middleware inside the gate: counts the calls that want something."""

    def __init__(self, app: ASGIApp, *, of: "Active") -> None:
        self._app = app
        self._of = of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call."""
        if not wants_something(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        with self._of.activity.busy("request"):
            await self._app(scope, receive, send)


def wants_something(method: str, path: str) -> bool:
    """
    Whether a call counts. Of sandboxd's own routes those do that belong to a turn or a sign-in; others count what
    they do themselves.
    """
    return method not in _READING and (not path.startswith("/sandboxd/") or _OWN_WORK.match(path) is not None)
