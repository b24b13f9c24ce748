"""What happens when a socket opens, closes, or sends a frame. Everything here is short; answering is the turn's."""

from contextlib import suppress
from dataclasses import dataclass

from chat import frames
from chat.agent import Agent
from chat.asking import Asking
from chat.attachments import AttachmentStore
from chat.chunks import replayed
from chat.clearing import Clearing
from chat.dispatch import TurnDispatcher
from chat.messages import MessageStore
from chat.recovery import Recovery
from chat.turn import TurnState, correlation_of
from chat.turns import Submitted, TurnStore
from threadbox.audit import AuditTrail
from threadbox.errors import AppError, ConflictError, InvalidRequestError, OpenCodeError, UnauthorizedError
from threadbox.sessions import SessionVerifier
from threadbox.sockets import ConnectionsClient, Socket, SocketBroadcast, SocketStore
from threadbox.telemetry import correlate, logger
from threadbox.threads import ThreadStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The socket's use cases."""

    sessions: SessionVerifier
    threads: ThreadStore
    sockets: SocketStore
    connections: ConnectionsClient
    broadcast: SocketBroadcast
    messages: MessageStore
    turns: TurnStore
    asking: Asking
    clearing: Clearing
    attachments: AttachmentStore
    dispatcher: TurnDispatcher
    recovery: Recovery
    agent: Agent
    audit: AuditTrail

    def connect(self, connection_id: str, *, thread_id: str, token: str, client_id: str = "") -> None:
        """
        Let a socket in, for the thread its token is for; its client may have had others before.

        Raises:
            UnauthorizedError, ForbiddenError: the token is not good for the thread, or somebody else owns it.
        """
        session = self.sessions.verify(token, thread_id=thread_id)
        self.threads.claim(thread_id, user_id=session.user_id)
        self.sockets.create(
            Socket(thread_id=thread_id, connection_id=connection_id, user_id=session.user_id, client_id=client_id)
        )
        logger.info("socket opened", thread_id=thread_id, connection_id=connection_id)
        self.audit.record("socket_opened", thread_id=thread_id, user_id=session.user_id)
        turn = self.turns.find(thread_id)
        if turn is not None and turn.missed_by(client_id):
            self.dispatcher.dispatch_return(turn, connection_id)

    def disconnect(self, connection_id: str) -> None:
        """Forget a socket."""
        socket = self.sockets.find(connection_id)
        if socket is not None:
            self.sockets.delete(socket.thread_id, connection_id)

    def receive(self, connection_id: str, text: str) -> None:
        """
        Act on a frame. What is wrong with it is answered on the socket.

        Raises:
            UnauthorizedError: the socket is not, or no longer, anybody's.
        """
        socket = self.sockets.find(connection_id)
        if socket is None:
            raise UnauthorizedError("This connection is not open any more.")
        request_id = ""
        try:
            frame = frames.parse(text)
            request_id = frame.id if isinstance(frame, frames.ChatRequest) else ""
            match frame:
                case frames.ChatRequest():
                    self._ask(socket, frame)
                case frames.CancelRequest():
                    self._cancel(socket, frame.id)
                case frames.ClearRequest() | frames.MessagesEcho():
                    self._follow(socket, frame)
                case frames.ResumeRequest():
                    self._probe(socket, frame.probe_id or "")
                case frames.ResumeAck():
                    self._attach(socket, frame.id)
                case frames.ToolApproval() | frames.ToolResult():
                    self._reply(socket, frame.tool_call_id, frame.answer())
        except AppError as error:
            logger.info("frame refused", code=error.code, thread_id=socket.thread_id)
            request_id = request_id or str(error.details.get("request_id", ""))
            if request_id:
                answer = frames.failed(request_id, str(error), error.code)
            else:
                answer = frames.problem(error.code, str(error))
            self.connections.post(connection_id, answer)

    def _ask(self, socket: Socket, frame: frames.ChatRequest) -> None:
        correlate(correlation_of(frame.id))
        if frame.url is not None and not socket.older:
            self.sockets.note_older(socket)
        submission = self.asking.submit(socket, frame)
        logger.info("turn requested", thread_id=socket.thread_id, request_id=frame.id, result=submission.result.value)
        if submission.displaced is not None:
            self.broadcast.post(socket.thread_id, frames.done(submission.displaced, "aborted"))
        if submission.result == Submitted.CLAIMED:
            try:
                self.dispatcher.dispatch(socket.thread_id, frame.id, submission.invocation)
            except AppError as error:
                self.recovery.take_back(socket.thread_id, frame.id, error)
        elif submission.result == Submitted.BEHIND:
            running = self.turns.find(socket.thread_id)
            if running is not None and running.cancel:
                self.agent.abort(running)
                self.recovery.look_at(running)
        if submission.cut:
            self.asking.tidy(socket.thread_id)

    def _cancel(self, socket: Socket, request_id: str) -> None:
        turn = self.turns.cancel(socket.thread_id, request_id)
        if turn is not None:
            self.agent.abort(turn)

    def _reply(self, socket: Socket, tool_call_id: str, answer: bool | list[list[str]]) -> None:  # noqa: FBT001 - one of both
        turn = self.turns.find(socket.thread_id)
        ask = turn.asks.get(tool_call_id) if turn is not None and turn.state == TurnState.RUNNING else None
        if turn is None or ask is None:
            raise ConflictError("This is not waited for any more.")
        if (ask.kind == "question") != isinstance(answer, list):
            raise InvalidRequestError("This answer does not fit what was asked.")
        self.agent.answer(turn, ask, answer)

    def _follow(self, socket: Socket, frame: frames.ClearRequest | frames.MessagesEcho) -> None:
        """
        Follow what a tab did to its list of messages.

        Emptied is emptied here too. Of any other change counts only what it answers to the agent, if that has not been
        told before.
        """
        if isinstance(frame, frames.ClearRequest):
            self.clearing.clear(socket)
            return
        for tool_call_id, answer in frame.replies().items():
            with suppress(ConflictError, InvalidRequestError, OpenCodeError):
                self._reply(socket, tool_call_id, answer)

    def _probe(self, socket: Socket, probe: str) -> None:
        turn = self.attachments.ask(socket, probe)
        if turn is not None and turn.under_way:
            self.recovery.look_at(turn)
            return
        if turn is not None and turn.missed_by(socket.client_id) and not turn.cleared:
            # It has seen the beginning of that answer; with nothing under way it would take that for the whole.
            self.connections.post(socket.connection_id, frames.resuming(turn.request_id, probe))
            return
        self.connections.post(socket.connection_id, frames.resume_none(probe))
        self.attachments.strike(socket, probe)

    def _attach(self, socket: Socket, request_id: str) -> None:
        if self.attachments.ack(socket, request_id):
            return
        for frame in self._replay(socket.thread_id, request_id):
            self.connections.post(socket.connection_id, frame)
        self.attachments.make_up(socket, request_id)

    def _replay(self, thread_id: str, request_id: str) -> list[str]:
        """Return the frames that make the stored answer of an ended request anew; of an unknown one, only its end."""
        ended = self.turns.outcome(thread_id, request_id)
        if ended is None:
            return [frames.done(request_id, "completed", replay=True)]
        seq, outcome = ended
        answer = self.messages.find(thread_id, seq + 1)
        chunks = replayed(answer.model_dump(exclude_none=True)) if answer else []
        replay = [frames.response(request_id, chunk, replay=True) for chunk in chunks]
        return [*replay, frames.done(request_id, outcome, replay=True)]
