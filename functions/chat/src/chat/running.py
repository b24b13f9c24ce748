"""
Running one turn: from the claimed request to the frame that ends it.

::

    lease ─▶ other tabs see the question ─▶ sandbox ─▶ prompt ─▶ events ─▶ chunks ─▶ answer stored ─▶ done

A keeper renews the lease once a second and brings back what others wrote: that the turn was called off, that the
sockets changed, that the turn is no longer ours. Whatever happens, the request ends with ``done`` or an error frame.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from chat import frames
from chat.dispatch import TurnDispatcher
from chat.exchange import Exchange, HandoverError, Limits
from chat.messages import MessageStore, UIMessage
from chat.opencode import OpenCodeClient, SilentError
from chat.renewal import RENEWED, UNREACHABLE, Renewal, is_codex, see_to
from chat.turn import Ask, Outcome, Turn, TurnState
from chat.turns import TurnStore
from chat.writers import Writers
from threadbox.clock import unix_time
from threadbox.control import Access, Codex, SandboxControlClient, Starting
from threadbox.errors import (
    AppError,
    ModelUnauthorizedError,
    OpenCodeError,
    ProviderUnreachableError,
    SandboxUnavailableError,
)
from threadbox.sockets import ConnectionsClient, SocketStore
from threadbox.telemetry import logger

KEEP_EVERY = 1.0
# While a tab has been offered the answer and is about to say that it wants it.
KEEP_SOON = 0.25
START_LIMIT = 300
START_POLL = (0.1, 0.1, 0.2, 0.2, 0.3)
SAY_AGAIN = 10
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

    async def run(self, thread_id: str, request_id: str, *, seconds: float) -> None:
        """Run the turn if it waits to be run; after *seconds* hand it over to another function."""
        turn = await asyncio.to_thread(self.turns.start, thread_id, request_id)
        if turn is None:
            logger.info("turn already taken", thread_id=thread_id, request_id=request_id)
            return
        left = turn.begun_at + self.turn_seconds - self.now()
        limits = Limits(
            turn_until=monotonic() + left, function_until=monotonic() + seconds, ask_seconds=self.ask_seconds
        )
        successor = await _Run(self, turn, limits).go()
        if successor is not None and successor.state == TurnState.QUEUED:
            await asyncio.to_thread(self.dispatcher.dispatch, thread_id, successor.request_id)


@dataclass(slots=True)
class _Run:
    """One turn under way, or the part of it that one function sees."""

    runner: TurnRunner
    turn: Turn
    limits: Limits
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    generation: int | None = None
    exchange: Exchange | None = None
    renewal: asyncio.Task[None] | None = None
    writers: Writers = field(init=False)
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.writers = Writers(
            connections=self.runner.connections,
            request_id=self.turn.request_id,
            own=self.turn.connection_id,
            served=None if self.turn.cursor is None else self.turn.served,
            on_gone=lambda connection_id: self.runner.sockets.delete(self.turn.thread_id, connection_id),
            threads=self.runner.posting,
        )

    async def go(self) -> Turn | None:
        """Run the turn; return what stands where it stood, or None when it was lost."""
        ahead = asyncio.create_task(self._look_ahead()) if self.turn.cursor is None else None
        await self._see_sockets(self.turn)
        answer = asyncio.create_task(self._answer(ahead))
        keeper = asyncio.create_task(self._keep())
        try:
            await asyncio.wait({answer, keeper}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                keeper.result()
            # What is left takes less than a lease, and from here on the sockets are looked at when it is their turn.
            keeper.cancel()
            return await self._finish(*answer.result())
        except HandoverError:
            return await self._hand_over()
        except TurnLostError:
            logger.warning("turn lost", thread_id=self.turn.thread_id, request_id=self.turn.request_id)
            return None
        finally:
            for task in filter(None, (answer, keeper, ahead, self.renewal)):
                task.cancel()
                with suppress(asyncio.CancelledError, AppError):
                    await task
            await self.writers.close()

    async def _keep(self) -> None:
        """Renew the lease until it is lost, and say now and then that the turn is alive."""
        while True:
            await asyncio.sleep(KEEP_SOON if self.writers.awaiting() else KEEP_EVERY)
            await self._renew()
            if self.writers.quiet_for() > SAY_ALIVE and self.generation is not None:
                self._say_sandbox("running", "ready")

    async def _renew(self, asks: dict[str, Ask] | None = None) -> None:
        """Renew the lease, write what the agent waits for if that changed, and see what others wrote."""
        # One at a time: the writers must not go back to what was before.
        async with self.renewing:
            renewed = await asyncio.to_thread(self.runner.turns.renew, self.turn, generation=self.generation, asks=asks)
            if renewed is None:
                raise TurnLostError("Another function runs this turn.")
            if renewed.sockets_version != self.turn.sockets_version:
                await self._see_sockets(renewed)
            self.turn = renewed
        if renewed.cancel:
            self.cancelled.set()

    async def _look_ahead(self) -> tuple[UIMessage | None, Access | Starting]:
        """Read the question and ask for the sandbox, both at once and while the sockets are read."""
        return await asyncio.gather(
            asyncio.to_thread(self.runner.messages.find, self.turn.thread_id, self.turn.seq),
            self._ensure(),
        )

    async def _answer(
        self, ahead: asyncio.Task[tuple[UIMessage | None, Access | Starting]] | None
    ) -> tuple[Outcome, AppError | None]:
        """Return how the answer ended, with the error if it failed."""
        try:
            start = {"type": "start", "messageId": self.turn.answer_id}
            if ahead is None:
                self.writers.remember(start)
                return await self._resume(), None
            await self._show_question()
            self.writers.chunk(start)
            question, sandbox = await ahead
            if question is None:
                raise OpenCodeError("The message is no longer there.")
            return await self._converse(question.text(), sandbox), None
        except (HandoverError, TurnLostError):
            raise
        except AppError as error:
            logger.warning("turn failed", thread_id=self.turn.thread_id, code=error.code, details=error.details)
            return "error", error

    async def _show_question(self) -> None:
        """Show the question in the thread's other tabs."""
        frame = await self._snapshot()
        if frame is not None:
            self.writers.frame(frame, but=self.turn.connection_id)

    async def _snapshot(self) -> str | None:
        if self.writers.alone(self.turn.connection_id):
            return None
        messages = await asyncio.to_thread(self.runner.messages.list, self.turn.thread_id)
        return frames.snapshot(messages)

    async def _converse(self, text: str, sandbox: Access | Starting) -> Outcome:
        """Wait for the sandbox, ask OpenCode, and pass on what it answers."""
        before = self.turn.generation
        until = min(monotonic() + START_LIMIT, self.limits.turn_until)
        while monotonic() < until:
            access = await self._wait_for(sandbox, until)
            if access is None:
                return "aborted"
            self.generation = access.generation
            if self.turn.generation != access.generation:
                # Known before the question is asked, so that whoever takes over knows what to stop.
                await self._renew()
            if before not in (None, access.generation):
                self._say_sandbox("running", "ready", context_lost=True)
            see_to(access.codex, model=self.turn.model)
            self.exchange = self._exchange(access, access.codex)
            try:
                return await self.exchange.ask(text, model=self.turn.model)
            except ModelUnauthorizedError as error:
                raise await self._refused(access, error) from error
            except SilentError:
                if self.exchange.asked:
                    raise
                await self._pause(START_POLL[-1])
                sandbox = await self._ensure(suspect=access.generation)
        raise SandboxUnavailableError("The sandbox does not answer. Please try again.")

    async def _refused(self, access: Access, error: ModelUnauthorizedError) -> AppError:
        """Return what to say to a model's refusal; when it is Codex's, after another access token was asked for."""
        if access.codex is None or not is_codex(access.codex, self.turn.model):
            return error
        try:
            answer = await self._ensure(refused=access.codex.version)
            codex = answer.codex if isinstance(answer, Access) else None
            see_to(codex, model=self.turn.model)
        except AppError as told:
            return told
        if codex is not None and codex.version == access.codex.version:
            return ProviderUnreachableError(UNREACHABLE)
        return ModelUnauthorizedError(RENEWED)

    async def _resume(self) -> Outcome:
        """Go on with the answer where the function before left it."""
        self.generation = self.turn.generation
        access = await asyncio.to_thread(self._lend)
        # What the function before knew of an access token is not known here: ask at once.
        self.exchange = self._exchange(access, Codex(state="connected", renew_at=0))
        return await self.exchange.resume()

    def _lend(self) -> Access:
        return self.runner.control.lend(self.turn.thread_id, scope="turn", generation=self.generation or 0)

    def _exchange(self, access: Access, codex: Codex | None) -> Exchange:
        if self.renewal is not None:
            self.renewal.cancel()
        self.renewal = asyncio.create_task(Renewal(ensure=self._ensure).run(codex))
        return Exchange(
            client=self.runner.opencode,
            access=access,
            lend=self._lend,
            part_id=self.turn.part_id,
            send=self.writers.chunk,
            remember=self.writers.remember,
            caught_up=self.writers.caught_up,
            on_asks=self._renew,
            cancelled=self.cancelled,
            limits=self.limits,
            first=self.turn.first,
            cursor=self.turn.cursor,
            asks=self.turn.asks,
        )

    async def _wait_for(self, sandbox: Access | Starting, until: float) -> Access | None:
        """Return access to the sandbox once it runs, telling the user how far it is; None when called off."""
        told: Starting | None = None
        told_at, polls = 0.0, 0
        while isinstance(sandbox, Starting):
            if self.cancelled.is_set():
                return None
            if monotonic() > until:
                raise SandboxUnavailableError("The sandbox did not start in time. Please try again.")
            if sandbox != told or monotonic() - told_at > SAY_AGAIN:
                told, told_at = sandbox, monotonic()
                self._say_sandbox(sandbox.state, sandbox.detail)
            await self._pause(START_POLL[min(polls, len(START_POLL) - 1)])
            polls += 1
            sandbox = await self._ensure(waiting_for=sandbox.generation)
        if told is not None:
            self._say_sandbox("running", "ready")
        return sandbox

    async def _ensure(
        self, *, waiting_for: int | None = None, suspect: int | None = None, refused: int | None = None
    ) -> Access | Starting:
        ensure = partial(self.runner.control.ensure, self.turn.thread_id, scope="turn")
        return await asyncio.to_thread(ensure, waiting_for=waiting_for, suspect=suspect, refused=refused)

    def _say_sandbox(self, state: str, detail: str, **more: object) -> None:
        data = {"state": state, "detail": detail, **more}
        self.writers.chunk({"type": "data-sandbox", "data": data, "transient": True})

    async def _pause(self, seconds: float) -> None:
        """Wait, but not for longer than until the turn is called off."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.cancelled.wait(), seconds)

    async def _finish(self, outcome: Outcome, error: AppError | None) -> Turn | None:
        """Store the answer, tell everybody, end the turn: in this order, so that nobody sees what is not kept."""
        translation = self.exchange.translation if self.exchange is not None else None
        metadata = translation.metadata() if translation is not None else {}
        if translation is not None and (parts := translation.parts()):
            answer = UIMessage(id=self.turn.answer_id, role="assistant", parts=parts, metadata=metadata or None)
            await asyncio.to_thread(self.runner.messages.put, self.turn.thread_id, self.turn.seq + 1, answer)
            frame = await self._snapshot()
            if frame is not None:
                self.writers.frame(frame, but=self.turn.connection_id)
        if error is not None:
            self.writers.finish(frames.failed(self.turn.request_id, str(error), error.code))
        else:
            self.writers.chunk({"type": "finish", **({"messageMetadata": metadata} if metadata else {})})
            self.writers.finish(frames.done(self.turn.request_id, outcome))
        logger.info("turn ended", thread_id=self.turn.thread_id, request_id=self.turn.request_id, outcome=outcome)
        while True:
            # Whoever probes once the turn has ended is answered by others: all of this has to come before. To the
            # one that asked the question it makes no difference, and its next question is not to find a turn.
            await self.writers.close(but_own=True)
            ended = await asyncio.to_thread(self.runner.turns.end, self.turn, outcome)
            if ended is not None:
                return ended
            await self._renew()

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
            cursor=exchange.cursor,
            served=self.writers.served or frozenset(),
        )

    async def _see_sockets(self, turn: Turn) -> None:
        """Let the writers follow the sockets, and what those ask of the turn as it is now."""
        sockets = await asyncio.to_thread(self.runner.sockets.list, turn.thread_id)
        self.writers.sync(sockets, turn.attachments)
