"""
One ordered writer per socket.

A socket is live, and gets every frame as it comes; or held, until it has been offered the answer and has said that it
wants it: then it gets everything from the beginning, marked as a replay, and is live from there on. Offer, replay and
live frames pass through the same queue, so a socket gets them in the order in which they were decided on.

A socket that cannot be given everything is closed: its client comes back, and is given all of it from the beginning.
One that is only just opening cannot be given anything yet: it is held, and asks as soon as it is there.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from time import monotonic

from chat import frames
from chat.chunks import merged
from chat.turn import Attachment
from threadbox.clock import unix_time
from threadbox.errors import RateLimitedError
from threadbox.sockets import ConnectionsClient, Socket
from threadbox.telemetry import logger

QUEUE_LIMIT = 2000
BACKOFF = (0.1, 0.3, 1.0)
DRAIN = 5
# A client says at once that it wants what it was offered.
ACK_SOON = 5


@dataclass(slots=True)
class _Writer:
    """``room`` is how many frames may wait; ``probe`` the last one that was answered, with an offer at that time."""

    queue: asyncio.Queue[str | None]
    task: asyncio.Task[None]
    live: bool
    room: int = field(default_factory=lambda: QUEUE_LIMIT)
    probe: str | None = None
    offered_at: float | None = None


@dataclass(slots=True, kw_only=True)
class Writers:
    """
    The writers of one turn, or of the part of it that one function sees.

    ``own`` is the connection that asked the question. ``served`` is given when another function passed on the
    beginning of the answer: the connections that got it. ``on_gone`` removes the row of a socket that is no more.
    ``threads`` is where posts wait; without it, where the loop has everything else wait.

    Closed writers begin anew with the next look at the sockets, as they would in another function.
    """

    connections: ConnectionsClient
    request_id: str
    own: str
    on_gone: Callable[[str], None]
    served: frozenset[str] | None = None
    threads: Executor | None = None
    now: Callable[[], float] = unix_time
    _writers: dict[str, _Writer] = field(default_factory=dict)
    _attachments: Mapping[str, Attachment] = field(default_factory=dict)
    _chunks: list[frames.Chunk] = field(default_factory=list)
    _begun: bool = False
    _whole: bool = False
    _last: str | None = None
    _sent_at: float = field(default_factory=monotonic)
    _dropped: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _opening: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._whole = self.served is None

    def sync(self, sockets: list[Socket], attachments: Mapping[str, Attachment]) -> None:
        """
        Follow the thread's sockets, and what they ask, as they are now.

        Those present when the turn begins are live from the start; later ones attach when they ask to.
        """
        present = {socket.connection_id: socket for socket in sockets}
        for connection_id in self._writers.keys() - present.keys():
            self._writers.pop(connection_id).task.cancel()
        for connection_id, socket in present.items():
            if connection_id not in self._writers and connection_id not in self._dropped:
                self._begin(socket, live=not self._begun if self.served is None else connection_id in self.served)
        self._begun = True
        self._attachments = attachments
        for connection_id, attachment in attachments.items():
            if connection_id in self._writers and not attachment.acked:
                self._answer(connection_id, attachment.probe)
        self._let_in()

    def quiet_for(self) -> float:
        """Return how many seconds ago the last frame was sent."""
        return monotonic() - self._sent_at

    def alone(self, connection_id: str) -> bool:
        """Say whether there is no live socket but that one."""
        return not any(writer.live for other, writer in self._writers.items() if other != connection_id)

    def awaiting(self) -> bool:
        """Say whether a socket has just been offered the answer and has not said yet that it wants it."""
        return any(
            not writer.live and writer.offered_at is not None and monotonic() - writer.offered_at < ACK_SOON
            for writer in self._writers.values()
        )

    def chunk(self, chunk: frames.Chunk) -> None:
        """Send a chunk of the answer to every live socket, and keep it for those that attach later."""
        self.remember(chunk)
        self.frame(frames.response(self.request_id, chunk))

    def remember(self, chunk: frames.Chunk) -> None:
        """Keep a chunk that was sent before, for those that attach later."""
        if not chunk.get("transient"):
            self._chunks.append(chunk)

    def caught_up(self) -> None:
        """Know that everything that was sent before has been remembered: from now on sockets can be given it."""
        self._whole = True
        self._let_in()

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
        self.caught_up()

    async def close(self, *, but_own: bool = False) -> None:
        """
        Wait, for a bounded time, until everything is posted, and end the writers; who got everything is ``served``.

        With *but_own* that of whoever asked the question goes on, unless what it has to say yet answers a probe.
        """
        ended, self._writers = self._writers, {}
        if but_own and self.own in ended and ended[self.own].probe is None:
            self._writers[self.own] = ended.pop(self.own)
        for writer in ended.values():
            writer.queue.put_nowait(None)
        if ended:
            await asyncio.wait([writer.task for writer in ended.values()], timeout=DRAIN)
        for connection_id, writer in ended.items():
            if not writer.task.done():
                writer.task.cancel()
                self._drop(connection_id)
        live = {connection_id for connection_id, writer in ended.items() if writer.live}
        self.served = frozenset(live - self._dropped.keys() - self._opening)
        if self._dropped:
            await asyncio.wait(self._dropped.values(), timeout=DRAIN)

    def _begin(self, socket: Socket, *, live: bool) -> None:
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        task = asyncio.create_task(self._write(socket, queue))
        self._writers[socket.connection_id] = _Writer(queue, task, live)

    def _answer(self, connection_id: str, probe: str) -> None:
        """Answer a probe: with an offer, and to whom asked the question itself, who follows it already, with none."""
        writer = self._writers[connection_id]
        if probe == writer.probe:
            return
        writer.probe = probe
        if connection_id == self.own:
            writer.queue.put_nowait(frames.resume_none(probe))
            return
        writer.queue.put_nowait(frames.resuming(self.request_id, probe))
        writer.offered_at = monotonic()
        writer.live = False

    def _let_in(self) -> None:
        """Give everything so far to those that want it, as soon as it is known here."""
        for connection_id, writer in self._writers.items():
            attachment = self._attachments.get(connection_id)
            if self._whole and not writer.live and attachment is not None and attachment.acked:
                for chunk in merged(self._chunks):
                    writer.queue.put_nowait(frames.response(self.request_id, chunk, replay=True))
                writer.queue.put_nowait(self._last or frames.replay_complete(self.request_id))
                writer.room = writer.queue.qsize() + QUEUE_LIMIT
                writer.live = True
                self._opening.discard(connection_id)

    def _put(self, connection_id: str, writer: _Writer, frame: str) -> None:
        if writer.queue.qsize() < writer.room:
            writer.queue.put_nowait(frame)
            return
        logger.warning("socket too slow", connection_id=connection_id)
        writer.task.cancel()
        self._drop(connection_id)

    def _drop(self, connection_id: str) -> None:
        self._writers.pop(connection_id, None)
        self._dropped[connection_id] = asyncio.create_task(self._dismiss(connection_id))

    def _hold(self, connection_id: str, socket: Socket) -> None:
        """Begin anew with a socket that could not be given a frame yet: what it has asked by now, or will."""
        self._opening.add(connection_id)
        if self._writers.pop(connection_id, None) is None:
            return
        self._begin(socket, live=False)
        attachment = self._attachments.get(connection_id)
        if attachment is not None and not attachment.acked:
            self._answer(connection_id, attachment.probe)

    async def _write(self, socket: Socket, queue: asyncio.Queue[str | None]) -> None:
        connection_id = socket.connection_id
        while (frame := await queue.get()) is not None:
            delivered = await self._post(connection_id, frame)
            if delivered:
                continue
            # Once it is held nothing is posted to it before it has asked: then it was there, and is gone.
            opening = socket.may_be_opening(self.now()) and connection_id not in self._opening
            if delivered is False and opening:
                self._hold(connection_id, socket)
            else:
                self._drop(connection_id)
            return

    async def _dismiss(self, connection_id: str) -> None:
        await asyncio.to_thread(self.connections.close, connection_id)
        await asyncio.to_thread(self.on_gone, connection_id)

    async def _post(self, connection_id: str, frame: str) -> bool | None:
        """Say whether the frame was taken; None when the socket takes none any more."""
        for pause in BACKOFF:
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self.threads, self.connections.post, connection_id, frame)
            except RateLimitedError:
                await asyncio.sleep(pause)
        logger.warning("socket takes no frames", connection_id=connection_id)
        return None
