"""Submitting what a user asks: a new message, one that is asked again (regenerate), or one with another text (edit)."""

from dataclasses import dataclass

from chat import frames
from chat.cuts import Cut, CutStore, is_cut
from chat.messages import MessageStore, UIMessage
from chat.turns import Submission, Submitted, TurnStore
from threadbox.errors import ConflictError, HistoryUnavailableError, InvalidRequestError
from threadbox.sockets import Socket
from threadbox.telemetry import logger

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class _Known:
    """A message that is in the history, and the last cut that was made before it was looked for."""

    number: int
    last_cut: int
    message: UIMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Stores the message and submits the request, in one transaction."""

    messages: MessageStore
    turns: TurnStore
    cuts: CutStore
    per_minute: int
    """How many requests a thread may make within a minute."""

    def submit(self, socket: Socket, frame: frames.ChatRequest) -> Submission:
        """
        Submit a request with its message.

        A message that is new follows the history. A known one is where the history is cut: its former self and what
        followed are gone, and it is stored anew at the end. Asked again it keeps its text, whatever the frame says.

        Raises:
            ConflictError: the thread changed too often meanwhile.
            InvalidRequestError: the message's id cannot be used.
            RateLimitedError: the thread had as many requests as may be within a minute.
        """
        message = frame.message()
        again = frame.init.body.trigger == "regenerate-message"
        known = self._known(socket.thread_id, message.id) if again else None
        number = self.messages.reserve_paced(socket.thread_id, per_minute=self.per_minute)
        for _ in range(ATTEMPTS):
            asked = known.message if again and known is not None else message
            submission = self._submit(socket, frame, asked, known, number)
            if submission.result == Submitted.KNOWN_MESSAGE or (submission.result == Submitted.CUT and known):
                known = self._known(socket.thread_id, message.id)
            elif submission.result != Submitted.CUT:
                return submission
            # However often it has to be tried, it is one request.
            number = self.messages.reserve(socket.thread_id)
        raise ConflictError("Too many messages at once. Please try again.", retry_after=1)

    def tidy(self, thread_id: str) -> None:
        """Delete what was cut. What cannot be deleted now is not seen any more, and goes with the next cut."""
        try:
            self.cuts.sweep(thread_id)
        except HistoryUnavailableError as error:
            logger.warning("cut messages left", thread_id=thread_id, code=error.code)

    def _submit(
        self, socket: Socket, frame: frames.ChatRequest, message: UIMessage, known: _Known | None, seq: int
    ) -> Submission:
        thread_id = socket.thread_id
        cut = None if known is None else Cut(number=seq, first=known.number)
        writes = self.messages.creation(
            thread_id, seq, message, request_id=frame.id, instead_of=None if known is None else known.number
        )
        return self.turns.submit(
            thread_id,
            frame.id,
            seq=seq,
            connection_id=socket.connection_id,
            model=frame.init.body.model or "",
            writes=writes if cut is None else [*writes, self.cuts.mark(thread_id, cut)],
            cut=cut,
            known_cut=0 if known is None else known.last_cut,
        )

    def _known(self, thread_id: str, message_id: str) -> _Known | None:
        """
        Return the message with that id, or None when it is not in the history.

        Raises:
            InvalidRequestError: the id belongs to something that no user said.
        """
        turn = self.turns.find(thread_id)
        number = self.messages.seq_of(thread_id, message_id)
        if number is None:
            return None
        if is_cut(self.cuts.pending(thread_id), number):
            # Deleted, though not quite yet; the id is free once it is.
            self.cuts.sweep(thread_id)
            return None
        message = self.messages.find(thread_id, number)
        if message is None or message.role != "user":
            raise InvalidRequestError("The message's id cannot be used.")
        return _Known(number, 0 if turn is None else turn.cut, message)
