"""Seeing to turns whose function died: another one goes on; after too many of them the turn ends, in words."""

from collections.abc import Callable
from dataclasses import dataclass

from chat import frames
from chat.agent import Agent
from chat.dispatch import TurnDispatcher
from chat.messages import MessageStore, UIMessage
from chat.outcomes import turn_ended
from chat.turn import Turn, TurnState, correlation_of
from chat.turns import TurnStore
from threadbox.clock import unix_time
from threadbox.errors import AppError, RateLimitedError
from threadbox.measures import count
from threadbox.sockets import SocketBroadcast
from threadbox.telemetry import correlate, logger

ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """
    Finds functions for turns that have none, or ends them.

    ``failed`` is the invocation that Lambda has reported. Without it a turn is left alone until its lease has run out.
    Doing it twice, or late, changes nothing.
    """

    turns: TurnStore
    messages: MessageStore
    broadcast: SocketBroadcast
    dispatcher: TurnDispatcher
    agent: Agent
    now: Callable[[], float] = unix_time

    def sweep(self) -> None:
        """See to every turn whose lease has run out."""
        for thread_id, request_id in self.turns.unended():
            self.go_on(thread_id, request_id)

    def look_at(self, turn: Turn) -> None:
        """See to a turn that somebody came across."""
        if turn.state != TurnState.ENDED and turn.lease_until <= self.now():
            self.go_on(turn.thread_id, turn.request_id)

    def go_on(self, thread_id: str, request_id: str, *, failed: str | None = None) -> None:
        """Have another function go on with a turn; when too many have died, end it."""
        correlate(correlation_of(request_id))
        turn = self.turns.requeue(thread_id, request_id, failed=failed)
        if turn is None:
            spent = self.turns.give_up(thread_id, request_id, failed=failed)
            if spent is not None:
                self._end(spent, interrupted())
            return
        logger.warning("turn goes on", thread_id=thread_id, request_id=request_id, takeovers=turn.takeovers)
        count("TurnTakeovers")
        try:
            self.dispatcher.dispatch(thread_id, request_id, turn.invocation)
        except RateLimitedError:
            # Its lease runs out again.
            logger.warning("turn waits", thread_id=thread_id, request_id=request_id)

    def take_back(self, thread_id: str, request_id: str, error: AppError) -> None:
        """End a turn that no function could be started for, with *error*."""
        turn = self.turns.take_back(thread_id, request_id)
        if turn is not None:
            self._end(turn, error)

    def _end(self, turn: Turn, error: AppError) -> None:
        """Stop the agent, keep what it said, tell everybody, and begin what stands behind."""
        thread_id, request_id = turn.thread_id, turn.request_id
        logger.warning("turn interrupted", thread_id=thread_id, request_id=request_id, code=error.code)
        parts = self.agent.partial(turn)
        if parts:
            # Refused where the answer was stored already, or its question is gone.
            self.messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
        self.broadcast.post(
            thread_id,
            frames.done(request_id, "aborted") if turn.cleared else frames.failed(request_id, str(error), error.code),
        )
        for _ in range(ATTEMPTS):
            if turn.cleared:
                self.broadcast.post(thread_id, frames.cleared(), but=turn.cleared_by)
            ended = self.turns.end(turn, "error")
            if ended is not None:
                turn_ended(turn, "error", now=self.now(), error=error)
                if ended.state == TurnState.QUEUED:
                    self.dispatcher.dispatch(thread_id, ended.request_id, ended.invocation)
                return
            renewed = self.turns.renew(turn)
            if renewed is None:
                return
            turn = renewed


def interrupted() -> AppError:
    """Return the error of a turn whose functions died."""
    return AppError("The answer was interrupted. Please send your message again.")
