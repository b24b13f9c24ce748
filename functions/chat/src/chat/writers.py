"""
One ordered writer per socket.

A socket is live, and gets every frame as it comes; or held, because it was offered to attach to the turn, until it
says it wants to: then it gets everything from the beginning, marked as a replay, and is live from there on. Replay
and live frames pass through the same queue, so their order is the order in which they were sent.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from chat import frames
from threadbox.errors import RateLimitedError
from threadbox.sockets import ConnectionsClient, Socket
from threadbox.telemetry import logger

QUEUE_LIMIT = 2000
BACKOFF = (0.1, 0.3, 1.0)
DRAIN = 5


@dataclass(slots=True)
class _Writer:
    queue: asyncio.Queue[str | None]
    task: asyncio.Task[None]
    live: bool


@dataclass(slots=True, kw_only=True)
class Writers:
    """The writers of one turn. ``on_gone`` removes the row of a socket that is no longer there."""

    connections: ConnectionsClient
    request_id: str
    on_gone: Callable[[str], None]
    _writers: dict[str, _Writer] = field(default_factory=dict)
    _chunks: list[frames.Chunk] = field(default_factory=list)
    _begun: bool = False
    _last: str | None = None
    _sent_at: float = field(default_factory=monotonic)

    def sync(self, sockets: list[Socket]) -> None:
        """
        Follow the thread's sockets as they are now.

        Those present at the first call are live from the start; later ones attach when they ask to.
        """
        present = {socket.connection_id: socket for socket in sockets}
        for connection_id in self._writers.keys() - present.keys():
            self._end(connection_id)
        for connection_id, socket in present.items():
            offered, acked = socket.offered == self.request_id, socket.acked == self.request_id
            if connection_id not in self._writers:
                self._begin(connection_id, live=not self._begun and not offered)
            writer = self._writers[connection_id]
            if offered and not acked:
                writer.live = False
            if acked and not writer.live:
                self._replay(writer)
        self._begun = True

    def quiet_for(self) -> float:
        """Return how many seconds ago the last frame was sent."""
        return monotonic() - self._sent_at

    def alone(self, connection_id: str) -> bool:
        """Say whether there is no live socket but that one."""
        return not any(writer.live for other, writer in self._writers.items() if other != connection_id)

    def chunk(self, chunk: frames.Chunk) -> None:
        """Send a chunk of the answer to every live socket, and keep it for those that attach later."""
        self.remember(chunk)
        self.frame(frames.response(self.request_id, chunk))

    def remember(self, chunk: frames.Chunk) -> None:
        """Keep a chunk that was sent before, for those that attach later."""
        if not chunk.get("transient"):
            self._chunks.append(chunk)

    def frame(self, frame: str, *, but: str | None = None) -> None:
        """Send a frame to every live socket, or to all *but* one."""
        self._sent_at = monotonic()
        for connection_id, writer in list(self._writers.items()):
            if writer.live and connection_id != but:
                self._put(connection_id, writer, frame)

    def finish(self, frame: str) -> None:
        """Send the frame that ends the answer, also to those that attach from now on."""
        self._last = frame
        self.frame(frame)

    async def close(self) -> None:
        """Wait, for a bounded time, until everything is posted; end the writers."""
        for writer in self._writers.values():
            writer.queue.put_nowait(None)
        tasks = [writer.task for writer in self._writers.values()]
        self._writers.clear()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DRAIN)
            for task in late:
                task.cancel()

    def _begin(self, connection_id: str, *, live: bool) -> None:
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        task = asyncio.create_task(self._write(connection_id, queue))
        self._writers[connection_id] = _Writer(queue, task, live)

    def _end(self, connection_id: str) -> None:
        self._writers.pop(connection_id).task.cancel()

    def _replay(self, writer: _Writer) -> None:
        for chunk in self._chunks:
            writer.queue.put_nowait(frames.response(self.request_id, chunk, replay=True))
        writer.queue.put_nowait(self._last or frames.replay_complete(self.request_id))
        writer.live = True

    def _put(self, connection_id: str, writer: _Writer, frame: str) -> None:
        if writer.queue.qsize() >= QUEUE_LIMIT:
            logger.warning("socket too slow", connection_id=connection_id)
            self._end(connection_id)
            return
        writer.queue.put_nowait(frame)

    async def _write(self, connection_id: str, queue: asyncio.Queue[str | None]) -> None:
        while (frame := await queue.get()) is not None:
            if not await self._post(connection_id, frame):
                self._writers.pop(connection_id, None)
                await asyncio.to_thread(self.on_gone, connection_id)
                return

    async def _post(self, connection_id: str, frame: str) -> bool:
        for pause in BACKOFF:
            try:
                return await asyncio.to_thread(self.connections.post, connection_id, frame)
            except RateLimitedError:
                await asyncio.sleep(pause)
        logger.warning("socket takes no frames", connection_id=connection_id)
        return False
