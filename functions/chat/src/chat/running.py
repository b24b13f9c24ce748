"""
Running one turn: from the claimed request to the frame that ends it.

::

    lease ─▶ sandbox ─▶ prompt ─▶ other tabs see the question ─▶ events ─▶ chunks ─▶ answer stored ─▶ done

Each frame that was posted is noted on the turn's row, which renews the lease and brings back what others wrote: that
the turn was called off, that the sockets changed, that the turn is no longer ours; a keeper does so in between, once a
second. A function that dies is followed by another one, which goes on from there. Whatever happens, the request ends
with ``done`` or an error frame.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from chat import frames
from chat.dispatch import TurnDispatcher
from chat.exchange import Exchange, HandoverError, Limits
from chat.forgetting import Forgetting
from chat.messages import MessageStore, UIMessage
from chat.opencode import OpenCodeClient, SilentError
from chat.outbox import Outbox
from chat.outcomes import first_token, frames_posted, turn_ended
from chat.parts import Chunk
from chat.records import TurnRecord
from chat.renewal import Renewal, see_to
from chat.sandbox_access import SandboxAccess
from chat.tabs import Tabs
from chat.turn import UNKNOWN_CUT, Outcome, Place, Turn, TurnState
from chat.turns import Sent, TurnStore
from chat.writers import Writers
from threadbox.clock import unix_time
from threadbox.control import Access, Codex, SandboxControlClient, Starting
from threadbox.errors import AppError, ModelUnauthorizedError, OpenCodeError, SandboxUnavailableError
from threadbox.sockets import ConnectionsClient, SocketStore
from threadbox.telemetry import logger

KEEP_EVERY = 1.0
# While a tab has been offered the answer and is about to say that it wants it.
KEEP_SOON = 0.25
START_LIMIT = 300
SAY_ALIVE = 25


class TurnLostError(AppError):
    """The turn is somebody else's now: nothing more is to be written or posted."""

    code = "turn_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRunner:
    """
    Runs turns: for *turn_seconds* at most, an unanswered ask for *ask_seconds*.

    ``posting`` is where posts to sockets wait, so that those which hang do not keep the lease from being renewed.
    """

    turns: TurnStore
    messages: MessageStore
    sockets: SocketStore
    connections: ConnectionsClient
    control: SandboxControlClient
    opencode: OpenCodeClient
    dispatcher: TurnDispatcher
    turn_seconds: int
    ask_seconds: int
    posting: Executor | None = None
    now: Callable[[], float] = unix_time

    async def run(self, thread_id: str, request_id: str, *, invocation: str, seconds: float) -> None:
        """Run the turn if it waits to be run, as that *invocation*; after *seconds* hand it over to another one."""
        turn = await asyncio.to_thread(self.turns.start, thread_id, request_id, invocation=invocation)
        if turn is None:
            logger.info("turn already taken", thread_id=thread_id, request_id=request_id)
            return
        left = turn.begun_ms / 1000 + self.turn_seconds - self.now()
        limits = Limits(
            turn_until=monotonic() + left, function_until=monotonic() + seconds, ask_seconds=self.ask_seconds
        )
        successor = await _Run(self, turn, limits).go()
        if successor is not None and successor.state == TurnState.QUEUED:
            await asyncio.to_thread(self.dispatcher.dispatch, thread_id, successor.request_id, successor.invocation)
        elif successor is not None and successor.cut_off:
            # Some may have come back by now, and were not given the answer any more.
            for socket in await asyncio.to_thread(self.sockets.list, thread_id):
                if successor.missed_by(socket.client_id):
                    await asyncio.to_thread(self.dispatcher.dispatch_return, successor, socket.connection_id)


@dataclass(slots=True)
class _Run:
    """One turn under way, or the part of it that one function sees."""

    runner: TurnRunner
    turn: Turn
    limits: Limits
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    begun: bool = False
    generation: int | None = None
    exchange: Exchange | None = None
    renewal: asyncio.Task[None] | None = None
    keeper: asyncio.Task[None] | None = None
    ttft_ms: int | None = None
    writers: Writers = field(init=False)
    tabs: Tabs = field(init=False)
    outbox: Outbox = field(init=False)
    sandbox: SandboxAccess = field(init=False)
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)
    renewed_at: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self.ttft_ms = self.turn.ttft_ms
        self.outbox = Outbox(send=self._send, note=self._note)
        self.sandbox = SandboxAccess(
            control=self.runner.control,
            thread_id=self.turn.thread_id,
            cancelled=self.cancelled,
            say=self._say_sandbox,
        )
        self.writers = Writers(
            connections=self.runner.connections,
            request_id=self.turn.request_id,
            own=self.turn.connection_id,
            served=None if self.turn.cursor is None else self.turn.served,
            doubtful=self.turn.lagging if self.turn.lost else None,
            cut_off=set(self.turn.cut_off),
            on_gone=lambda connection_id: self.runner.sockets.delete(self.turn.thread_id, connection_id),
            threads=self.runner.posting,
        )
        self.tabs = Tabs(
            sockets=self.runner.sockets,
            messages=self.runner.messages,
            connections=self.runner.connections,
            writers=self.writers,
        )

    async def go(self) -> Turn | None:
        """Run the turn; return what stands where it stood, or None when it was lost."""
        ahead = asyncio.create_task(self._look_ahead()) if self.turn.first is None else None
        await self.tabs.follow(self.turn)
        answer = asyncio.create_task(self._answer(ahead))
        self.keeper = asyncio.create_task(self._keep())
        try:
            await asyncio.wait({answer, self.keeper}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self.keeper.result()
            # What is left takes less than a lease, and from here on the sockets are looked at when it is their turn.
            self.keeper.cancel()
            return await self._finish(*answer.result())
        except HandoverError:
            return await self._hand_over()
        except TurnLostError:
            logger.warning("turn lost", thread_id=self.turn.thread_id, request_id=self.turn.request_id)
            await self.outbox.close()
            self.writers.abandon()
            return None
        finally:
            for task in filter(None, (answer, self.keeper, ahead, self.renewal)):
                task.cancel()
                with suppress(asyncio.CancelledError, AppError):
                    await task
            await self.outbox.close()
            await self.writers.close()
            frames_posted(self.writers.taken)

    async def _keep(self) -> None:
        """Renew the lease until it is lost, and say now and then that the turn is alive."""
        while True:
            self.writers.tell_the_silent()
            left = self.renewed_at + (KEEP_SOON if self.writers.awaiting() else KEEP_EVERY) - monotonic()
            if left > 0:
                await asyncio.sleep(left)
                continue
            await self._renew()
            if self.writers.quiet_for() > SAY_ALIVE and self.generation is not None:
                self._say_sandbox("running", "ready")

    async def _note(self, place: Place) -> None:
        """Note that everything up to *place* was posted, once it is."""
        await self._renew(sent=Sent(place, *await self.writers.posted()))

    async def _renew(self, **known: Any) -> None:
        """Renew the lease, write what is *known* of the turn by now, and see what others wrote."""
        # One at a time: the writers must not go back to what was before.
        async with self.renewing:
            self.renewed_at = monotonic()
            asked = self.exchange is not None and self.exchange.asked
            renew = partial(
                self.runner.turns.renew,
                self.turn,
                generation=self.generation,
                first=self.exchange.first if self.exchange is not None and asked else None,
                ttft_ms=self.ttft_ms,
                cut_off=set(self.writers.cut_off) or None,
                **known,
            )
            renewed = await asyncio.to_thread(renew)
            if renewed is None:
                raise TurnLostError("Another function runs this turn.")
            if renewed.sockets_version != self.turn.sockets_version:
                await self.tabs.follow(renewed)
            self.turn = renewed
        if renewed.cancel:
            self.cancelled.set()

    async def _look_ahead(self) -> tuple[UIMessage | None, Access | Starting]:
        """Read the question and ask for the sandbox, both at once and while the sockets are read."""
        return await asyncio.gather(
            asyncio.to_thread(self.runner.messages.find, self.turn.thread_id, self.turn.seq),
            self.sandbox.ensure(),
        )

    async def _answer(
        self, ahead: asyncio.Task[tuple[UIMessage | None, Access | Starting]] | None
    ) -> tuple[Outcome, AppError | None]:
        """Return how the answer ended, with the error if it failed."""
        try:
            if self.turn.cursor is not None:
                self.begun = True
                self.writers.remember(self._start())
            if ahead is None:
                return await self._resume(), None
            question, sandbox = await ahead
            if question is None:
                raise OpenCodeError("The message is no longer there.")
            return await self._converse(question.text(), sandbox), None
        except (HandoverError, TurnLostError):
            raise
        except AppError as error:
            logger.warning("turn failed", thread_id=self.turn.thread_id, code=error.code, details=error.details)
            return "error", error

    async def _begin(self) -> None:
        """Show the question in the thread's other tabs, and begin the answer in all of them, once."""
        if not self.begun:
            self.begun = True
            await self.tabs.show_question(self.turn)
            self.writers.chunk(self._start())

    def _start(self) -> Chunk:
        return {"type": "start", "messageId": self.turn.answer_id}

    async def _converse(self, text: str, sandbox: Access | Starting) -> Outcome:
        """Wait for the sandbox, ask OpenCode, and pass on what it answers."""
        until = min(monotonic() + START_LIMIT, self.limits.turn_until)
        while monotonic() < until:
            if isinstance(sandbox, Starting):
                await self._begin()
            access = await self.sandbox.wait(sandbox, until)
            if access is None:
                return "aborted"
            self.generation = access.generation
            if self.turn.generation != access.generation:
                # Known before the question is asked, so that whoever takes over knows what to stop; and that what this
                # sandbox brought back of the conversation, if that began in another, is yet to be looked at.
                await self._renew(**({} if self.turn.generation is None else {"session_cut": UNKNOWN_CUT}))
            try:
                if await self._forget(access):
                    await self._begin()
                    self._say_sandbox("running", "ready", context_lost=True)
                if access.ends_at is not None:
                    await self._begin()
                    self._say_sandbox("running", "ready", ends_at=access.ends_at)
                see_to(access.codex, model=self.turn.model)
                self.exchange = self._exchange(self.turn.reach(access), access.codex)
                return await self.exchange.ask(text, model=self.turn.model)
            except ModelUnauthorizedError as error:
                raise await self.sandbox.refused(access, self.turn.model, error) from error
            except SilentError:
                if self.exchange is not None and self.exchange.asked:
                    raise
                self.exchange = None
                sandbox = await self.sandbox.again(suspect=access.generation)
        raise SandboxUnavailableError("The sandbox does not answer. Please try again.")

    async def _forget(self, access: Access) -> bool:
        """Make the agent forget what was cut from the history, and say whether it had forgotten more than that."""
        turn = self.turn
        if not turn.context_is_stale:
            return False
        forgetting = Forgetting(client=self.runner.opencode, messages=self.runner.messages)
        context = await forgetting.forget(turn, turn.reach(access))
        # The cut that was seen: of one made meanwhile the next turn takes care.
        await self._renew(session_cut=turn.cut, session_id=context.session_id, session_of=access.generation)
        return context.lost

    async def _resume(self) -> Outcome:
        """Go on with the answer where the function before left it."""
        self.generation = self.turn.generation
        access = await asyncio.to_thread(self._lend)
        # What the function before knew of an access token is not known here: ask at once.
        self.exchange = self._exchange(access, Codex(state="connected", renew_at=0))
        return await self.exchange.resume()

    def _lend(self) -> Access:
        access = self.runner.control.lend(self.turn.thread_id, scope="turn", generation=self.generation or 0)
        return self.turn.reach(access)

    def _exchange(self, access: Access, codex: Codex | None) -> Exchange:
        if self.renewal is not None:
            self.renewal.cancel()
        self.renewal = asyncio.create_task(Renewal(ensure=self.sandbox.ensure).run(codex))
        return Exchange(
            client=self.runner.opencode,
            access=access,
            lend=self._lend,
            part_id=self.turn.part_id,
            outbox=self.outbox,
            remember=self.writers.remember,
            caught_up=self.writers.caught_up,
            on_asked=self._begin,
            on_asks=lambda asks: self._renew(asks=asks),
            cancelled=self.cancelled,
            limits=self.limits,
            first=self.turn.first,
            cursor=self.turn.place,
            lost=self.turn.lost and self.turn.place is not None,
            asks=self.turn.asks,
        )

    def _send(self, chunk: Chunk) -> None:
        first = self.ttft_ms is None and chunk["type"].endswith("-delta")
        if first:
            self.ttft_ms = int(self.runner.now() * 1000) - self.turn.begun_ms
        self.writers.chunk(chunk)
        if first:
            first_token(self.ttft_ms or 0, started=self.sandbox.waited)

    def _say_sandbox(self, state: str, detail: str, **more: object) -> None:
        data = {"state": state, "detail": detail, **more}
        self.writers.chunk({"type": "data-sandbox", "data": data, "transient": True})

    async def _finish(self, outcome: Outcome, error: AppError | None) -> Turn | None:
        """Store the answer, tell everybody, end the turn: in this order, so that nobody sees what is not kept."""
        await self._begin()
        translation = self.exchange.translation if self.exchange is not None else None
        metadata = translation.metadata() if translation is not None else {}
        stored = await self._store(translation.parts(), metadata) if translation is not None else None
        if self.turn.cleared:
            last = frames.done(self.turn.request_id, "aborted")
        elif error is not None:
            last = frames.failed(self.turn.request_id, str(error), error.code)
        else:
            await self._say_finish({"type": "finish", **({"messageMetadata": metadata} if metadata else {})})
            last = frames.done(self.turn.request_id, outcome)
        if stored is not None:
            await self.tabs.show_answer(self.turn)
        self.writers.finish(last)
        if stored is not None and self.turn.takeovers:
            # Where a function died, what is shown may lack a frame, or have one twice.
            self.writers.frame(frames.message_updated(stored))
        record = TurnRecord(ttft_ms=self.ttft_ms)
        if translation is not None:
            record = TurnRecord(ttft_ms=self.ttft_ms, **translation.record())
        while True:
            if self.turn.cleared:
                await self.tabs.clear(self.turn)
            # Whoever probes once the turn has ended is answered by others: all of this has to come before. To the
            # one that asked the question it makes no difference, and its next question is not to find a turn.
            cut_off = self.writers.silent()
            await self.writers.close(but_own=not self.tabs.asked_by_older(self.turn))
            cut_off |= self.writers.cut_off
            ended = await asyncio.to_thread(self.runner.turns.end, self.turn, outcome, record, cut_off=cut_off)
            if ended is not None:
                turn_ended(self.turn, outcome, now=self.runner.now(), error=error, record=record)
                return ended
            await self._renew()

    async def _store(self, parts: list[Chunk], metadata: Chunk) -> UIMessage | None:
        """Store the answer; None when there is nothing to see of it."""
        if not parts:
            return None
        answer = UIMessage(id=self.turn.answer_id, role="assistant", parts=parts, metadata=metadata or None)
        if not await asyncio.to_thread(self.runner.messages.answer, self.turn, answer):
            await self._renew()
        return None if self.turn.cleared else answer

    async def _say_finish(self, chunk: Chunk) -> None:
        if self.exchange is None:
            self.writers.chunk(chunk)
        else:
            await self.exchange.finish(chunk)

    async def _hand_over(self) -> Turn | None:
        """Let everything be posted, then queue the turn for another function."""
        await self.writers.close()
        exchange = self.exchange
        if exchange is None or exchange.first is None or exchange.cursor is None:
            raise TurnLostError("There is nothing to hand over.")
        logger.info("turn handed over", thread_id=self.turn.thread_id, request_id=self.turn.request_id)
        return await asyncio.to_thread(
            self.runner.turns.hand_over,
            self.turn,
            first=exchange.first,
            sent=Sent(exchange.cursor, self.writers.served or frozenset()),
            ttft_ms=self.ttft_ms,
        )
