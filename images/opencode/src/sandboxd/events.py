"""
OpenCode's events, numbered and kept.

OpenCode's own stream has no ids and no replay, so exactly one reader turns it into a numbered log, and any number of
callers read that from wherever they left off.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

import httpx

logger = logging.getLogger(__name__)

BATCH_EVENTS = 512
COMPACT_AT = 4096
SILENCE_SECONDS = 30
RECONNECT_SECONDS = 0.02
_IGNORED = (b'"type":"server.connected"', b'"type":"server.heartbeat"')
RESYNC = b'{"type":"opencode.resync","properties":{"reason":"event stream was interrupted"}}'


class EventLog:
    """
    The last events, by number.

    Numbers start at 1, rise by one and are never used again. The oldest events fall out when either bound is passed.
    Each event is stored as the line its readers get, so that reading costs no serialising.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        # Dropped lines leave a hole at the front that is cut off now and then: slices stay cheap wherever they start.
        self._lines: list[bytes] = []
        self._head = 0
        self._bytes = 0
        self._dropped = 0
        self._closed = False
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def first(self) -> int:
        """The number of the oldest event kept; one more than ``last`` while nothing is kept."""
        return self._dropped + 1

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._dropped + len(self._lines) - self._head

    @property
    def closed(self) -> bool:
        """Whether the log has ended."""
        return self._closed

    def append(self, event: bytes) -> None:
        """Add one event, the bytes of a JSON object without a line break, and wake whoever waits for it."""
        line = b'{"type":"event","n":%d,"event":%b}\n' % (self.last + 1, event)
        self._lines.append(line)
        self._bytes += len(line)
        while self.last - self._dropped > self._max_events or (
            self._bytes > self._max_bytes and self.last > self.first
        ):
            self._bytes -= len(self._lines[self._head])
            self._lines[self._head] = b""
            self._head += 1
            self._dropped += 1
        if self._head > COMPACT_AT:
            del self._lines[: self._head]
            self._head = 0
        self._wake()

    def read(self, after: int) -> list[bytes]:
        """Return the lines that follow number *after*, a batch at most; it must not lie before ``first - 1``."""
        start = self._head + after - self._dropped
        return self._lines[start : start + BATCH_EVENTS]

    async def wait(self, after: int, seconds: float) -> None:
        """Return when there is an event after number *after*, when the log ends, or when *seconds* have passed."""
        if self._closed or self.last > after or seconds <= 0:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait((waiter,), timeout=seconds)
        finally:
            self._waiters.discard(waiter)

    def close(self) -> None:
        """End the log: streams of it end once they have sent what is there."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def stream(self, *, generation: int, after: int | None, heartbeat: float) -> AsyncIterator[bytes]:
        """
        Yield the log as lines of JSON: a cursor, then events as they come, heartbeats in between.

        A reader whose next event is gone (or who names a number that never was) is told so by a ``gap`` line and goes
        on with what is there; it re-syncs from OpenCode's messages. That may happen in the middle too, to one who
        reads too slowly.
        """
        at = self.last if after is None else after
        yield b'{"type":"cursor","generation":%d,"first":%d,"last":%d}\n' % (generation, self.first, self.last)
        due = time.monotonic() + heartbeat
        while True:
            if not self.first - 1 <= at <= self.last:
                at = self.first - 1 if at < self.first else self.last
                yield b'{"type":"gap","first":%d}\n' % (at + 1)
            if lines := self.read(at):
                at += len(lines)
                yield b"".join(lines)
            elif self._closed:
                return
            if time.monotonic() >= due:
                due = time.monotonic() + heartbeat
                yield b'{"type":"heartbeat","last":%d}\n' % self.last
            await self.wait(at, due - time.monotonic())


class EventReader:
    """
    The single reader of OpenCode's ``/event``, which fills the log.

    When the stream breaks while OpenCode lives, it connects again at once. Events of the time in between are lost
    (OpenCode keeps none), so every reconnection is recorded as an event ``opencode.resync``: who reads it re-reads
    the messages. *on_event* is shown each event that goes to the log.
    """

    def __init__(
        self, client: httpx.AsyncClient, log: EventLog, *, on_event: Callable[[bytes], None] | None = None
    ) -> None:
        self._client = client
        self._log = log
        self._on_event = on_event
        self._connected = asyncio.Event()
        self._ignored: bytes | None = None

    def ignore_session(self, session_id: str) -> None:
        """Keep the events of this session (the warm-up's late ones) out of the log."""
        self._ignored = session_id.encode()

    async def connected(self) -> None:
        """Return when the first connection stands: whatever happens from then on is in the log."""
        await self._connected.wait()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self._read()
            except httpx.HTTPError as exc:
                logger.warning("event stream broke: %s", type(exc).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _read(self) -> None:
        timeout = httpx.Timeout(2, read=SILENCE_SECONDS)
        async with self._client.stream("GET", "/event", timeout=timeout) as response:
            response.raise_for_status()
            rest = b""
            async for chunk in response.aiter_raw():
                *frames, rest = (rest + chunk).split(b"\n\n")
                for frame in frames:
                    self._take(frame)

    def _take(self, frame: bytes) -> None:
        """Store one server-sent event; OpenCode writes each as a single ``data:`` line of compact JSON."""
        if not frame.startswith(b"data: "):
            return
        event = frame[6:]
        if any(mark in event[:80] for mark in _IGNORED):
            self._note_connection(event)
        elif self._ignored is None or self._ignored not in event:
            self._store(event)

    def _note_connection(self, event: bytes) -> None:
        if _IGNORED[0] not in event:
            return
        if self._connected.is_set():
            self._store(RESYNC)
        self._connected.set()

    def _store(self, event: bytes) -> None:
        self._log.append(event)
        if self._on_event is not None:
            self._on_event(event)
