"""
One ordered writer per socket.

A socket is live, and gets every frame as it comes; or held, until it has been offered the answer and has said that it
wants it: then it gets everything from the beginning, marked as a replay, and is live from there on. Offer, replay and
live frames pass through the same queue, so a socket gets them in the order in which they were decided on.

A socket that cannot be given everything is closed: its client comes back, and is given all of it from the beginning.
One that is only just opening cannot be given anything yet: it is held, and asks as soon as it is there.

Clients of the older generation never ask. They are offered the answer when they have been silent for a while; and one
that comes back to an answer of which it has the beginning takes up where it was, for it cannot begin it anew.
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
# What posts take that are not held up.
POSTED_SOON = 0.1
# A client says at once that it wants what it was offered.
ACK_SOON = 5
# It asks at once, if it is one that asks.
SILENT_SECONDS = 2.0


@dataclass(slots=True)
class _Writer:
    """
    ``room`` is how many frames may wait; ``probe`` the last one that was answered, with an offer at that time.

    ``lags``: when somebody last waited until everything was posted, something was left. ``met``: it has taken a frame.
    ``wanted``: it was offered the answer unasked, and has asked since.
    ``got`` is how many chunks of the answer it has taken, if that is known; ``older`` whether its client is known to be
    one that takes up where it was.
    """

    client_id: str
    live: bool
    older: bool = False
    got: int | None = None
    since: float = field(default_factory=monotonic)
    queue: "asyncio.Queue[tuple[str, int | None] | None]" = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] = field(init=False)
    room: int = field(default_factory=lambda: QUEUE_LIMIT)
    probe: str | None = None
    offered_at: float | None = None
    wanted: bool = False
    lags: bool = False
    met: bool = False


@dataclass(slots=True, kw_only=True)
class Writers:
    """
    The writers of one turn, or of the part of it that one function sees.

    ``own`` is the connection that asked the question. ``served`` is given when another function passed on the
    beginning of the answer: the connections that got it. ``doubtful`` is given when it died: those that it was behind
    with. What they got is not known, nor what those got that have attached since, and they are closed. ``on_gone``
    removes the row of a socket that is no more. ``cut_off`` are the clients that got only a part of the answer.
    ``threads`` is where posts wait; without it, where the loop has everything else wait. ``taken`` is how many frames
    sockets have taken.

    Closed writers begin anew with the next look at the sockets, as they would in another function.
    """

    connections: ConnectionsClient
    request_id: str
    own: str
    on_gone: Callable[[str], None]
    served: frozenset[str] | None = None
    doubtful: frozenset[str] | None = None
    threads: Executor | None = None
    cut_off: set[str] = field(default_factory=set)
    now: Callable[[], float] = unix_time
    taken: int = 0
    _writers: dict[str, _Writer] = field(default_factory=dict)
    _attachments: Mapping[str, Attachment] = field(default_factory=dict)
    _chunks: list[frames.Chunk] = field(default_factory=list)
    _begun: bool = False
    _whole: bool = False
    _last: str | None = None
    _sent_at: float = field(default_factory=monotonic)
    _dropped: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _opening: set[str] = field(default_factory=set)
    _left_at: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._whole = self.served is None

    def sync(self, sockets: list[Socket], attachments: Mapping[str, Attachment]) -> None:
        """
        Follow the thread's sockets, and what they ask, as they are now.

        Those present when the turn begins are live from the start; later ones attach when they ask to.
        """
        present = {socket.connection_id: socket for socket in sockets}
        for connection_id in self._writers.keys() - present.keys():
            self._part(connection_id)
        for connection_id, socket in present.items():
            if connection_id not in self._writers and connection_id not in self._dropped:
                self._meet(socket, attachments.get(connection_id))
        self._begun = True
        self._attachments = attachments
        for connection_id, attachment in attachments.items():
            if connection_id in self._writers and not attachment.acked:
                self._answer(connection_id, attachment.probe)
        self._let_in()

    def quiet_for(self) -> float:
        """Return how many seconds ago the last frame was sent."""
        return monotonic() - self._sent_at

    def is_older(self, connection_id: str) -> bool:
        """Say whether that socket is there, and its client is known to be of the older generation."""
        writer = self._writers.get(connection_id)
        return writer is not None and writer.older

    def alone(self, connection_id: str | None) -> bool:
        """Say whether there is no live socket but that one."""
        return not any(writer.live for other, writer in self._writers.items() if other != connection_id)

    def awaiting(self) -> bool:
        """Say whether a socket has just been offered the answer and has not said yet that it wants it."""
        return any(
            not writer.live and writer.offered_at is not None and monotonic() - writer.offered_at < ACK_SOON
            for writer in self._writers.values()
        )

    def tell_the_silent(self) -> None:
        """Offer the answer to those that have not asked for it since they came, or go on with it where they were."""
        for connection_id, writer in self._writers.items():
            if not self._is_silent(connection_id, writer) or monotonic() - writer.since < SILENT_SECONDS:
                continue
            got = self._left_at.get(writer.client_id)
            if got is not None and self._whole:
                self._take_up(writer, got)
            elif writer.client_id not in self.cut_off:
                self._offer(writer, "")
                writer.older = True

    def silent(self) -> frozenset[str]:
        """Return the clients that are there, have not been offered the answer, and have not asked for it."""
        silent = (writer for connection_id, writer in self._writers.items() if self._is_silent(connection_id, writer))
        return frozenset(writer.client_id for writer in silent if writer.client_id)

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
                self._note_cut_off(writer)
                self._drop(connection_id)
        live = {connection_id for connection_id, writer in ended.items() if writer.live}
        self.served = frozenset(live - self._dropped.keys() - self._opening)
        if self._dropped:
            await asyncio.wait(self._dropped.values(), timeout=DRAIN)

    async def posted(self) -> tuple[frozenset[str], frozenset[str]]:
        """Wait for a moment until everything is posted; return which connections got all there is, and which not."""
        live = {connection_id: writer for connection_id, writer in self._writers.items() if writer.live}
        waits = {connection_id: asyncio.create_task(writer.queue.join()) for connection_id, writer in live.items()}
        prompt = [wait for connection_id, wait in waits.items() if not live[connection_id].lags]
        if waits:
            await asyncio.wait(prompt or waits.values(), timeout=POSTED_SOON if prompt else 0)
        for connection_id, wait in waits.items():
            live[connection_id].lags = not wait.done()
            wait.cancel()
        same = {each for each, writer in live.items() if self._writers.get(each) is writer and not writer.lags}
        now_live = {each for each, writer in self._writers.items() if writer.live}
        return frozenset(same - self._opening), frozenset(now_live - same)

    def abandon(self) -> None:
        """Post nothing more: the answer is somebody else's."""
        for writer in self._writers.values():
            writer.task.cancel()
        self._writers = {}

    def _meet(self, socket: Socket, attachment: Attachment | None) -> None:
        """Begin with a socket that was not there before, or with one that was the business of the function before."""
        connection_id = socket.connection_id
        served = self.served is not None and connection_id in self.served
        acked = attachment is not None and attachment.acked
        doubtful = self.doubtful is not None and (connection_id in self.doubtful or acked)
        if doubtful and not served and not self._begun:
            self._dropped[connection_id] = asyncio.create_task(self._dismiss(connection_id, socket))
        elif self.served is not None:
            self._begin(socket, live=served)
            self._writers[connection_id].met = served
        else:
            # Others that have asked by now may have been offered the answer already.
            asked = self.doubtful is not None and attachment is not None and connection_id != self.own
            self._begin(socket, live=not self._begun and not asked)

    def _begin(self, socket: Socket, *, live: bool) -> None:
        got = 0 if live and self.served is None else None
        writer = self._writers[socket.connection_id] = _Writer(socket.client_id, live, socket.older, got)
        writer.task = asyncio.create_task(self._write(socket, writer))
        if live:
            self.cut_off.discard(socket.client_id)

    def _answer(self, connection_id: str, probe: str) -> None:
        """Answer a probe: with an offer, and to whom asked the question itself, who follows it already, with none."""
        writer = self._writers[connection_id]
        if probe == writer.probe:
            return
        # What it was offered before its question came it takes for the answer, and passes over another offer.
        writer.wanted = writer.probe is None and writer.offered_at is not None
        writer.probe = probe
        writer.older = False
        if writer.wanted:
            return
        if connection_id == self.own:
            writer.queue.put_nowait((frames.resume_none(probe), None))
            return
        self._offer(writer, probe)

    def _offer(self, writer: _Writer, probe: str) -> None:
        writer.queue.put_nowait((frames.resuming(self.request_id, probe), None))
        writer.offered_at = monotonic()
        writer.live = False

    def _is_silent(self, connection_id: str, writer: _Writer) -> bool:
        asked = connection_id in self._attachments or writer.offered_at is not None
        return not writer.live and not asked and connection_id != self.own

    def _take_up(self, writer: _Writer, got: int) -> None:
        """Go on behind the first *got* chunks."""
        writer.older = True
        self._left_at.pop(writer.client_id, None)
        self._catch_up(writer, self._chunks[got:], self._last, replay=False)

    def _let_in(self) -> None:
        """Give everything so far to those that want it, as soon as it is known here."""
        for connection_id, writer in self._writers.items():
            attachment = self._attachments.get(connection_id)
            wanted = writer.wanted or (attachment is not None and attachment.acked)
            if self._whole and not writer.live and wanted:
                last = self._last or frames.replay_complete(self.request_id)
                self._catch_up(writer, self._chunks, last, replay=True)
                self._opening.discard(connection_id)

    def _catch_up(self, writer: _Writer, chunks: list[frames.Chunk], last: str | None, *, replay: bool) -> None:
        """Give a socket what it lacks, with the frame behind that, if there is one; from there on it is live."""
        for chunk in merged(chunks):
            writer.queue.put_nowait((frames.response(self.request_id, chunk, replay=replay), None))
        if last is not None:
            writer.queue.put_nowait((last, len(self._chunks)))
        writer.room = writer.queue.qsize() + QUEUE_LIMIT
        writer.live = True
        self.cut_off.discard(writer.client_id)

    def _put(self, connection_id: str, writer: _Writer, frame: str) -> None:
        if writer.queue.qsize() < writer.room:
            writer.queue.put_nowait((frame, len(self._chunks) if self._whole else None))
            return
        logger.warning("socket too slow", connection_id=connection_id)
        writer.task.cancel()
        self._drop(connection_id)

    def _part(self, connection_id: str) -> None:
        """End the writer of a socket that is no more, and note whose it was."""
        writer = self._writers.pop(connection_id, None)
        if writer is not None:
            writer.task.cancel()
            self._note_cut_off(writer)

    def _note_cut_off(self, writer: _Writer) -> None:
        if writer.live and writer.client_id:
            self.cut_off.add(writer.client_id)
            if writer.older and writer.got is not None:
                self._left_at[writer.client_id] = writer.got

    def _drop(self, connection_id: str) -> None:
        writer = self._writers.pop(connection_id, None)
        if writer is not None:
            self._note_cut_off(writer)
        self._dropped[connection_id] = asyncio.create_task(self._dismiss(connection_id))

    def _hold(self, socket: Socket) -> None:
        """Begin anew with a socket that could not be given a frame yet: what it has asked by now, or will."""
        self._opening.add(socket.connection_id)
        if self._writers.pop(socket.connection_id, None) is not None:
            self._begin_held(socket)

    def _begin_held(self, socket: Socket) -> None:
        """Begin with a socket that gets nothing before it has asked, and answer what it has asked by now."""
        self._begin(socket, live=False)
        attachment = self._attachments.get(socket.connection_id)
        if attachment is not None and not attachment.acked:
            self._answer(socket.connection_id, attachment.probe)

    async def _write(self, socket: Socket, writer: _Writer) -> None:
        try:
            while await self._write_one(socket, writer):
                pass
        finally:
            # Nobody is to wait for what is not posted any more.
            while not writer.queue.empty():
                writer.queue.get_nowait()
                writer.queue.task_done()

    async def _write_one(self, socket: Socket, writer: _Writer) -> bool:
        """Post the next frame, and say whether there may be more."""
        item = await writer.queue.get()
        try:
            if item is None:
                return False
            frame, got = item
            delivered = await self._post(socket.connection_id, frame)
            if delivered:
                self.taken += 1
                writer.met = True
                writer.got = writer.got if got is None else got
            else:
                self._fail(socket, writer, delivered)
            return bool(delivered)
        finally:
            writer.queue.task_done()

    def _fail(self, socket: Socket, writer: _Writer, delivered: bool | None) -> None:  # noqa: FBT001 - see _post
        # Once it has taken a frame, or has asked while it was held, it was there, and is gone.
        met = writer.met or (socket.connection_id in self._opening and writer.probe is not None)
        if delivered is False and socket.may_be_opening(self.now()) and not met:
            self._hold(socket)
        else:
            self._note_cut_off(writer)
            self._drop(socket.connection_id)

    async def _dismiss(self, connection_id: str, stranger: Socket | None = None) -> None:
        """Close a socket and forget it; a *stranger* that is only just opening has got nothing, and stays."""
        closed = await asyncio.to_thread(self.connections.close, connection_id)
        if not closed and stranger is not None and stranger.may_be_opening(self.now()):
            del self._dropped[connection_id]
            self._begin_held(stranger)
            return
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
