"""The open connections, and what waits to be sent to each."""

import asyncio
import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from websockets.frames import CloseCode

from local.gateway.errors import GoneError, LimitExceededError


class Close(NamedTuple):
    """How a connection ended, or is to end."""

    code: int
    reason: str
    by_client: bool = False


GOING_AWAY = Close(CloseCode.GOING_AWAY, "Going away")
"""What AWS says when a connection was idle too long, or lived too long."""
DELETED = Close(CloseCode.NORMAL_CLOSURE, "Connection Closed Normally")
UNSUPPORTED = Close(CloseCode.UNSUPPORTED_DATA, "Binary frames are not supported")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who opened a connection."""

    source_ip: str
    user_agent: str | None


def new_id() -> str:
    """An id of the form that AWS gives connections, messages and requests: 16 characters, the last one ``=``."""
    return base64.urlsafe_b64encode(secrets.token_bytes(11)).decode()


class Connection:
    """One connection; times are epoch seconds."""

    def __init__(
        self, *, api_id: str, stage: str, identity: Identity, buffer_bytes: int, now: Callable[[], float]
    ) -> None:
        self.id = new_id()
        self.api_id = api_id
        self.stage = stage
        self.identity = identity
        self.connected_at = self.last_active_at = now()
        self.ended: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        self._now = now
        self._room = buffer_bytes
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue()

    def touch(self) -> None:
        """Note that a message came or went."""
        self.last_active_at = self._now()

    def post(self, message: str) -> None:
        """
        Have *message* sent after those that wait already.

        Raises:
            LimitExceededError: too much waits.
        """
        size = len(message.encode())
        if size > self._room:
            raise LimitExceededError
        self._room -= size
        self._waiting.put_nowait(message)

    async def next(self) -> str | None:
        """The next message to send, once there is one; None when it was the last."""
        return await self._waiting.get()

    def sent(self, message: str) -> None:
        """Note that the client's side took it: there is room again."""
        self._room += len(message.encode())
        self.touch()

    def end(self, close: Close) -> None:
        """End it, unless it has ended; what waits is sent before."""
        if not self.ended.done():
            self.ended.set_result(close)
            self._waiting.put_nowait(None)


class Connections:
    """The open ones: a connection is among them from the end of its handshake to its close."""

    def __init__(self) -> None:
        self._open: dict[str, Connection] = {}

    def add(self, connection: Connection) -> None:
        """Open it."""
        self._open[connection.id] = connection

    def remove(self, connection: Connection) -> None:
        """Close it."""
        self._open.pop(connection.id, None)

    def end_all(self, close: Close) -> None:
        """End every one."""
        for connection in list(self._open.values()):
            connection.end(close)

    def get(self, api_id: str, stage: str, connection_id: str) -> Connection:
        """
        Return the open connection.

        Raises:
            GoneError: there is none of that name.
        """
        connection = self._open.get(connection_id)
        if connection is None or (connection.api_id, connection.stage) != (api_id, stage) or connection.ended.done():
            raise GoneError
        return connection
