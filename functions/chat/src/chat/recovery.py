"""Ending turns whose function died, so that nobody waits for ever."""

from dataclasses import dataclass

from chat import frames
from chat.agent import Agent
from chat.dispatch import TurnDispatcher
from chat.messages import MessageStore, UIMessage
from chat.turn import TurnState
from chat.turns import TurnStore
from threadbox.errors import AppError
from threadbox.sockets import SocketBroadcast
from threadbox.telemetry import logger

ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """
    Ends dead turns.

    The agent is stopped, and what it said so far is kept.
    """

    turns: TurnStore
    messages: MessageStore
    broadcast: SocketBroadcast
    dispatcher: TurnDispatcher
    agent: Agent

    def sweep(self) -> None:
        """End every turn whose lease has run out."""
        for thread_id, request_id in self.turns.unended():
            self.end(thread_id, request_id, error=interrupted(), expired_only=True)

    def end(self, thread_id: str, request_id: str, *, error: AppError, expired_only: bool) -> None:
        """End one turn with *error*, and start what stands behind it. Of an ended turn nothing changes."""
        turn = self.turns.take_over(thread_id, request_id, expired_only=expired_only)
        if turn is None:
            return
        logger.warning("turn interrupted", thread_id=thread_id, request_id=request_id)
        parts = self.agent.partial(turn)
        if parts:
            self.messages.put(thread_id, turn.seq + 1, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
        self.broadcast.post(thread_id, frames.failed(request_id, str(error), error.code))
        for _ in range(ATTEMPTS):
            ended = self.turns.end(turn, "error")
            if ended is not None:
                if ended.state == TurnState.QUEUED:
                    self.dispatcher.dispatch(thread_id, ended.request_id)
                return
            renewed = self.turns.renew(turn, generation=None)
            if renewed is None:
                return
            turn = renewed


def interrupted() -> AppError:
    """Return the error of a turn whose function died."""
    return AppError("The answer was interrupted. Please send your message again.")
