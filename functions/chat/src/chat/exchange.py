"""One question to OpenCode and its answer: reading the event log, and passing on what it says."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from time import monotonic

from chat.model_errors import NONSENSE, model_error
from chat.opencode import Line, OpenCodeClient, SilentError
from chat.outbox import Outbox
from chat.parts import Chunk
from chat.translation import Translation
from chat.turn import BEGINNING, Ask, Outcome, Place
from threadbox.clock import unix_time
from threadbox.control import Access
from threadbox.errors import AppError, ModelError, OpenCodeError, SandboxLostError

RECONNECTS = 3
RECONNECT_PAUSE = 1.0
ABORT_LIMIT = 5
TICK = 1.0
# What comes without content and without a reason to end OpenCode asks for again, at once and for ever.
EMPTY_STEPS = 3
# What OpenCode let go of it does not take up any more, unless it was the turn before whose end came late.
LET_GO_SECONDS = 3
# sandboxd's own events: it restarted OpenCode, or lost its event stream for a moment.
RESYNC = ("opencode.restarted", "opencode.resync")
LOST = "The sandbox stopped while it was answering. Send your message again and a new one will start."
LET_GO = "The agent was stopped before it began. Please send your message again."
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

    ``lend`` gives access to the same sandbox anew, after the stream broke. ``on_asked`` is awaited once the question is
    asked, before anything of its answer is passed on. ``first`` is the number in the event log behind which the answer
    begins, ``cursor`` the place up to which it was passed on. Whoever continues an answer reads it from its beginning:
    what was sent before goes to ``remember``, then ``caught_up`` is called, and what lies behind the cursor goes to the
    ``outbox``. Where a function died (``lost``) the next frame may have been posted already.
    """

    client: OpenCodeClient
    access: Access
    lend: Callable[[], Access]
    part_id: str
    outbox: Outbox
    remember: Callable[[Chunk], None]
    caught_up: Callable[[], None]
    on_asked: Callable[[], Awaitable[None]]
    on_asks: Callable[[dict[str, Ask]], Awaitable[None]]
    cancelled: asyncio.Event
    limits: Limits
    first: int | None = None
    cursor: Place | None = None
    lost: bool = False
    asks: dict[str, Ask] = field(default_factory=dict)
    asked: bool = False
    now: Callable[[], float] = unix_time
    translation: Translation = field(init=False)
    _lines: asyncio.Queue[Line | AppError] = field(default_factory=lambda: asyncio.Queue(maxsize=1000))
    _refused: set[str] = field(default_factory=set)
    _behind: Place = BEGINNING
    _level: bool = True
    _at: int = 0
    _let_go_at: float | None = None
    _ending: int = 0

    def __post_init__(self) -> None:
        self.translation = Translation(session_id=self.access.session_id, part_id=self.part_id)
        if self.cursor is not None:
            self._behind, self._level = self.cursor, False

    async def ask(self, text: str, *, model: str) -> Outcome:
        """
        Ask, unless who died has done so, and pass on the answer.

        Raises:
            SilentError: nobody answers; nothing was asked if ``asked`` is false.
            HandoverError: another function is to continue.
            SandboxLostError: the sandbox went away after it was asked.
            OpenCodeError: OpenCode refused, or the model failed.
        """
        # The log is opened while OpenCode is at work: it keeps what happens meanwhile.
        self.first = await self.client.prompt(self.access, part_id=self.part_id, text=text, model=model)
        self.cursor = Place(self.first)
        self.asked = True
        # What tabs are to see first is made ready while OpenCode is at work.
        await self.on_asked()
        return await self._run()

    async def resume(self) -> Outcome:
        """
        Go on with an answer that another function passed on up to the cursor.

        Raises:
            As :meth:`ask`.
        """
        self.asked = True
        self.cursor = self.cursor or Place(self.first or 0)
        if self._level:
            self.caught_up()
        return await self._run()

    async def finish(self, chunk: Chunk) -> None:
        """Pass on the chunk that ends the answer."""
        self._put_at_end(chunk)
        await self.outbox.flush()

    async def _run(self) -> Outcome:
        reader = asyncio.create_task(self._read())
        handover = False
        try:
            outcome = await self._follow()
        except HandoverError:
            handover = True
            raise
        finally:
            reader.cancel()
            if not handover:
                for chunk in self.translation.close():
                    self._put_at_end(chunk)
            await self.outbox.flush()
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
                await self._abort()
                now = monotonic()
                give_up = now + ABORT_LIMIT
            if now > give_up:
                break
            await self._mind_the_time(now)
            await self._step()
            self._mind_what_was_let_go()
            if self.translation.empty_steps >= EMPTY_STEPS and not self.translation.finished:
                await self._abort()
                raise ModelError(NONSENSE)
        return "aborted" if self.cancelled.is_set() else "completed"

    def _mind_what_was_let_go(self) -> None:
        """End what somebody's abort hit before OpenCode was at work on it; a turn that is called off ends anyway."""
        if not self.translation.let_go or self.cancelled.is_set():
            self._let_go_at = None
        elif self._let_go_at is None:
            self._let_go_at = monotonic()
        elif monotonic() - self._let_go_at > LET_GO_SECONDS:
            raise OpenCodeError(LET_GO)

    async def _abort(self) -> None:
        await self.client.abort(self.access, part_id=self.part_id)

    async def _mind_the_time(self, now: float) -> None:
        if now > self.limits.turn_until:
            await self._abort()
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
        """Take what comes next."""
        try:
            # What is there already is taken without the cost of a wait: a fast model says thousands of words a second.
            line = self._lines.get_nowait() if self._lines.qsize() else await asyncio.wait_for(self._lines.get(), TICK)
        except TimeoutError:
            return
        if isinstance(line, AppError):
            raise line
        chunks = await self._chunks(line)
        # The cursor that a log begins with is the number of its last event, not of one that was read.
        level = self._level or (line.kind != "cursor" and line.n >= self._behind.n)
        if level:
            # Before it is shown: who sees what is asked may answer at once.
            await self._tell_asks()
        self._pass_on(chunks, line)
        if level and not self._level:
            self._level = True
            self.caught_up()

    def _pass_on(self, chunks: list[Chunk], line: Line) -> None:
        for number, chunk in enumerate(chunks, 1):
            if line.kind == "event":
                self._put(chunk, Place(line.n, number))
            elif self._level:
                # A gap stands before the event that has its number.
                self._put(chunk, Place(line.n - 1))
            else:
                self.remember(chunk)
        if line.kind == "event":
            self._at = line.n
            if not self._behind.covers(line.n, len(chunks)):
                self.cursor = Place(line.n)

    def _put(self, chunk: Chunk, place: Place) -> None:
        if self._behind.covers(place.n, place.chunks or 0):
            self.remember(chunk)
        elif self.lost and chunk["type"].endswith("-end"):
            # A client takes text twice, and bears that it has no end; an end twice it does not.
            self.remember(chunk)
            self.lost = False
        else:
            self.outbox.put(chunk, place)
            self.lost = False

    def _put_at_end(self, chunk: Chunk) -> None:
        """Send what follows the last event, as if it were the next one's."""
        self._ending += 1
        self._put(chunk, Place(self._at + 1, self._ending))

    async def _chunks(self, line: Line) -> list[Chunk]:
        if line.kind == "gap" or line.event.get("type") in RESYNC:
            return self.translation.resync(await self.client.messages(self.access))
        return self.translation.feed(line.event) if line.kind == "event" else []

    async def _tell_asks(self) -> None:
        """Say what the agent waits for now, and since when, if that has changed."""
        if self.translation.asks.keys() == self.asks.keys():
            return
        now = int(self.now())
        self.asks = {
            call: self.asks.get(call, ask.model_copy(update={"asked_at": now}))
            for call, ask in self.translation.asks.items()
        }
        await self.on_asks(self.asks)

    async def _read(self) -> None:
        """Put lines on the queue; after a break go on behind the last number, a bounded number of times."""
        after = self.first or 0
        failures = 0
        while True:
            try:
                async with aclosing(self.client.events(self.access, after=after)) as lines:
                    async for line in lines:
                        failures = 0
                        if line.kind == "event":
                            after = line.n
                        await self._lines.put(line)
            except SilentError:
                failures += 1
                if failures > RECONNECTS:
                    await self._lines.put(SandboxLostError(LOST))
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
