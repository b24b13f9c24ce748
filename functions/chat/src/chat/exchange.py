"""One question to OpenCode and its answer: reading the event log, and passing on what it says."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from time import monotonic

from chat.chunks import merged
from chat.model_errors import NONSENSE, model_error
from chat.opencode import Line, OpenCodeClient, SilentError
from chat.parts import Chunk
from chat.translation import Translation
from chat.turn import Ask, Outcome
from threadbox.clock import unix_time
from threadbox.control import Access
from threadbox.errors import AppError, ModelError, OpenCodeError, SandboxLostError

FLUSH_EVERY = 0.1
RECONNECTS = 3
RECONNECT_PAUSE = 1.0
ABORT_LIMIT = 5
TICK = 1.0
# What comes without content and without a reason to end OpenCode asks for again, at once and for ever.
EMPTY_STEPS = 3
# sandboxd's own events: it restarted OpenCode, or lost its event stream for a moment.
RESYNC = ("opencode.restarted", "opencode.resync")
LOST = "The sandbox stopped while it was answering. Send your message again and a new one will start."
LATE = "The answer took too long. What came so far is kept; please ask for the rest."


class HandoverError(AppError):
    """The function's time is nearly over; another one goes on."""

    code = "handover"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Until when, on the monotonic clock, the turn may last and this function may go on; and how long an ask waits."""

    turn_until: float
    function_until: float
    ask_seconds: float


@dataclass(slots=True, kw_only=True)
class Exchange:
    """
    One prompt, and the reading of its events until OpenCode is idle again.

    The first delta is sent at once; what follows is merged to about ten frames a second. ``lend`` gives access to the
    same sandbox anew, after the stream broke. ``first`` and ``cursor`` are numbers of the event log: behind the one
    the answer begins, up to the other it was passed on. Whoever continues an answer reads it from its beginning: what
    was sent before goes to ``remember``, then ``caught_up`` is called, and what lies behind the cursor is passed on.
    """

    client: OpenCodeClient
    access: Access
    lend: Callable[[], Access]
    part_id: str
    send: Callable[[Chunk], None]
    remember: Callable[[Chunk], None]
    caught_up: Callable[[], None]
    on_asks: Callable[[dict[str, Ask]], Awaitable[None]]
    cancelled: asyncio.Event
    limits: Limits
    first: int | None = None
    cursor: int | None = None
    asks: dict[str, Ask] = field(default_factory=dict)
    asked: bool = False
    now: Callable[[], float] = unix_time
    translation: Translation = field(init=False)
    _lines: asyncio.Queue[Line | AppError] = field(default_factory=lambda: asyncio.Queue(maxsize=1000))
    _pending: list[Chunk] = field(default_factory=list)
    _flush_at: float = 0
    _refused: set[str] = field(default_factory=set)
    _behind: int = 0
    _level: bool = True

    def __post_init__(self) -> None:
        self.translation = Translation(session_id=self.access.session_id, part_id=self.part_id)
        self._behind = self.cursor or 0
        self._level = self.cursor == self.first

    async def ask(self, text: str, *, model: str) -> Outcome:
        """
        Ask, and pass on the answer.

        Raises:
            SilentError: nobody answers; nothing was asked yet if ``asked`` is false.
            HandoverError: another function is to continue.
            SandboxLostError: the sandbox went away after it was asked.
            OpenCodeError: OpenCode refused, or the model failed.
        """

        async def begin() -> None:
            # Read first, ask then: no event of the answer can be missed.
            first = await self._lines.get()
            if isinstance(first, AppError):
                raise first
            self.first = self.cursor = first.n
            await self.client.prompt(self.access, part_id=self.part_id, text=text, model=model)
            self.asked = True

        return await self._run(begin())

    async def resume(self) -> Outcome:
        """
        Go on with an answer that another function passed on up to the cursor.

        Raises:
            As :meth:`ask`.
        """
        self.asked = True
        if self._level:
            self.caught_up()
        return await self._run()

    async def _run(self, begin: Awaitable[None] | None = None) -> Outcome:
        reader = asyncio.create_task(self._read())
        handover = False
        try:
            if begin is not None:
                await begin
            outcome = await self._follow()
        except HandoverError:
            handover = True
            raise
        finally:
            reader.cancel()
            if not handover:
                self._pending += self.translation.close()
            self._flush()
        if outcome == "aborted" or self.translation.aborted:
            return "aborted"
        if self.translation.error is not None:
            raise model_error(self.translation.error)
        return outcome

    async def _follow(self) -> Outcome:
        give_up = float("inf")
        while not self.translation.finished:
            now = monotonic()
            if self.cancelled.is_set() and give_up == float("inf"):
                give_up = now + ABORT_LIMIT
                await self.client.abort(self.access)
            if now > give_up:
                break
            await self._mind_the_time(now)
            await self._step()
            if self.translation.empty_steps >= EMPTY_STEPS and not self.translation.finished:
                await self.client.abort(self.access)
                raise ModelError(NONSENSE)
        return "aborted" if self.cancelled.is_set() else "completed"

    async def _mind_the_time(self, now: float) -> None:
        if now > self.limits.turn_until:
            await self.client.abort(self.access)
            raise OpenCodeError(LATE)
        if now > self.limits.function_until and not self.cancelled.is_set():
            raise HandoverError("Another function goes on.")
        late = [ask for ask in self.asks.values() if self.now() - ask.asked_at > self.limits.ask_seconds]
        for ask in late:
            if ask.id not in self._refused:
                self._refused.add(ask.id)
                # The user may have answered in the same moment.
                with suppress(OpenCodeError):
                    await self.client.reply(self.access, ask, answer=False)

    async def _step(self) -> None:
        """Take what comes next, or flush what is due."""
        wait = max(0.0, self._flush_at - monotonic()) if self._pending else TICK
        try:
            line = await asyncio.wait_for(self._lines.get(), wait)
        except TimeoutError:
            self._flush()
            return
        if isinstance(line, AppError):
            raise line
        chunks = await self._chunks(line)
        if not self._level and (line.n <= self._behind or line.kind == "gap"):
            for chunk in chunks:
                self.remember(chunk)
        else:
            self._pending += chunks
            self.cursor = line.n if line.kind == "event" else self.cursor
        # The cursor that a log begins with is the number of its last event, not of one that was read.
        if not self._level and line.kind != "cursor" and line.n >= self._behind:
            self._level = True
            self.caught_up()
        if self._level and self.translation.asks.keys() != self.asks.keys():
            await self._tell_asks()
        if self._pending and monotonic() >= self._flush_at:
            self._flush()

    async def _chunks(self, line: Line) -> list[Chunk]:
        if line.kind == "gap" or line.event.get("type") in RESYNC:
            return self.translation.resync(await self.client.messages(self.access))
        return self.translation.feed(line.event) if line.kind == "event" else []

    async def _tell_asks(self) -> None:
        """Say what the agent waits for now, and since when."""
        self._flush()
        now = int(self.now())
        self.asks = {
            call: self.asks.get(call, ask.model_copy(update={"asked_at": now}))
            for call, ask in self.translation.asks.items()
        }
        await self.on_asks(self.asks)

    def _flush(self) -> None:
        for chunk in merged(self._pending):
            self.send(chunk)
        if self._pending:
            self._flush_at = monotonic() + FLUSH_EVERY
        self._pending = []

    async def _read(self) -> None:
        """Put lines on the queue; after a break go on behind the last number, a bounded number of times."""
        after = self.first
        failures = 0
        while True:
            try:
                async with aclosing(self.client.events(self.access, after=after)) as lines:
                    async for line in lines:
                        failures = 0
                        if line.kind == "event" or after is None:
                            after = line.n
                        await self._lines.put(line)
            except SilentError as error:
                failures += 1
                if not self.asked or failures > RECONNECTS:
                    await self._lines.put(SandboxLostError(LOST) if self.asked else error)
                    return
                await asyncio.sleep(RECONNECT_PAUSE)
                if not await self._lent_again():
                    return
            except AppError as error:
                await self._lines.put(error)
                return

    async def _lent_again(self) -> bool:
        try:
            self.access = await asyncio.to_thread(self.lend)
        except AppError:
            await self._lines.put(SandboxLostError(LOST))
            return False
        return True
