"""
What is to be sent of an answer, frame by frame, each noted once it was posted.

What begins an answer goes out at once, up to its first text. After it text is gathered for a tenth of a second, since
it can be merged, and everything else goes as soon as what lies before it was noted. So when a function dies, at most
one frame was posted that nothing is known of; at the very beginning also those that begin a part, or say what may be
said twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from chat.parts import Chunk
from chat.sizes import DELTA_LIMIT, taken
from chat.turn import Place

FLUSH_EVERY = 0.1


@dataclass(slots=True)
class _Frame:
    """A chunk that waits; a delta grows by what follows it. ``place`` lies behind all of it."""

    chunk: Chunk
    place: Place
    said: list[str]
    size: int

    @property
    def content(self) -> bool:
        """Say whether it adds to the answer, not only begins a part or says how things are."""
        begins = str(self.chunk["type"]).endswith("-start") or self.chunk["type"] == "start-step"
        return not begins and not self.chunk.get("transient")

    def takes(self, chunk: Chunk, size: int) -> bool:
        """Say whether *chunk* can be sent with it."""
        return (
            bool(self.said)
            and "delta" in chunk
            and (chunk["type"], chunk["id"]) == (self.chunk["type"], self.chunk["id"])
            and self.size + size <= DELTA_LIMIT
        )

    def whole(self) -> Chunk:
        """Return the chunk to send."""
        return {**self.chunk, "delta": "".join(self.said)} if self.said else self.chunk


@dataclass(slots=True, kw_only=True)
class Outbox:
    """
    Takes chunks, each with the place in the answer behind it, and gives them to ``send``.

    ``note`` waits until everything is posted and writes down up to which place that is. Its errors are raised by the
    next :meth:`flush`, and nothing is sent any more.
    """

    send: Callable[[Chunk], None]
    note: Callable[[Place], Awaitable[None]]
    _waiting: list[_Frame] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _empty: asyncio.Event = field(default_factory=asyncio.Event)
    _hurried: bool = False
    _begun: bool = False
    _due: float = 0
    _task: asyncio.Task[None] | None = None

    def put(self, chunk: Chunk, place: Place) -> None:
        """Have a chunk sent when it is its turn."""
        said = [str(chunk["delta"])] if "delta" in chunk else []
        size = taken(said[0]) if said else 0
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last.takes(chunk, size):
            last.said += said
            last.size += size
            last.place = place
        else:
            self._waiting.append(_Frame(chunk, place, said, size))
            self._changed.set()
        self._empty.clear()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def flush(self) -> None:
        """Return when everything is sent and noted; nothing is gathered any longer."""
        if self._task is None:
            return
        self._hurried = True
        self._changed.set()
        emptied = asyncio.create_task(self._empty.wait())
        await asyncio.wait((self._task, emptied), return_when=asyncio.FIRST_COMPLETED)
        emptied.cancel()
        self._hurried = False
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def close(self) -> None:
        """Send nothing more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._task

    async def _run(self) -> None:
        while True:
            await self._ready()
            frames = self._take()
            for frame in frames:
                self.send(frame.whole())
                if frame.said:
                    self._due = monotonic() + FLUSH_EVERY
            if self._begun:
                await self.note(frames[-1].place)
            if not self._waiting:
                self._empty.set()

    async def _ready(self) -> None:
        """Return when something waits that is to be sent now."""
        while True:
            left = self._due - monotonic()
            grows = len(self._waiting) == 1 and bool(self._waiting[0].said)
            if self._waiting and (self._hurried or not grows or left <= 0):
                return
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left if self._waiting else None)

    def _take(self) -> list[_Frame]:
        if self._begun:
            return [self._waiting.pop(0)]
        frames, self._waiting = self._waiting, []
        self._begun = any(frame.content for frame in frames)
        return frames
