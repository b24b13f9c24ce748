"""
What is logged of calls: one line for each that changes something, and whose call it was on every line that comes of it.

The caller's correlation id is opaque, and the same in the logs of the functions. A path is logged as its route, since
there are names of files in it.
"""

import logging
import re
import time
from collections.abc import Callable
from contextvars import ContextVar

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

HEADER = "x-correlation-id"
FORMAT = "%(asctime)s %(levelname)s %(name)s %(correlation)s %(message)s"
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_READING = frozenset(("GET", "HEAD", "OPTIONS"))
_correlation: ContextVar[str] = ContextVar("correlation", default="-")


def stamp(record: logging.LogRecord) -> bool:
    """Say in a line whose call it comes of; a filter for a handler."""
    record.correlation = _correlation.get()
    return True


class LogCalls:
    """ASGI middleware inside the gate."""

    def __init__(self, app: ASGIApp, *, now: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call."""
        said = HTTPConnection(scope).headers.get(HEADER, "")
        _correlation.set(said if _ID.fullmatch(said) else "-")
        if scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        began, status = self._now(), 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            route = getattr(scope.get("route"), "path", "-")
            logger.info("%s %s %d in %d ms", scope["method"], route, status, (self._now() - began) * 1000)
