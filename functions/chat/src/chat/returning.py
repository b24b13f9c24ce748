"""Clients that come back to an answer that has ended meanwhile, and never ask for it: those of the older generation."""

from collections.abc import Callable
from dataclasses import dataclass
from time import sleep

from chat import frames
from chat.attachments import AttachmentStore
from chat.messages import MessageStore
from chat.sizes import FRAME_LIMIT
from chat.turns import TurnStore
from chat.writers import SILENT_SECONDS
from threadbox.clock import unix_time
from threadbox.connections import ConnectionsClient
from threadbox.sockets import SocketStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Returning:
    """
    Gives such a client the messages, and ends the answer that it still waits for.

    By then its socket has been open for so long that it would have asked, if it were one that asks: those are offered
    the answer (``conversation.py``).
    """

    sockets: SocketStore
    turns: TurnStore
    messages: MessageStore
    attachments: AttachmentStore
    connections: ConnectionsClient
    now: Callable[[], float] = unix_time
    pause: Callable[[float], None] = sleep

    def see_to(self, thread_id: str, request_id: str, connection_id: str) -> None:
        """Wait until the socket would have asked; if it has not, show it what it missed of that answer."""
        socket = self.sockets.find(connection_id)
        if socket is None:
            return
        self.pause(max(0, socket.opened_at + 1 + SILENT_SECONDS - self.now()))
        if self.attachments.claim_silent(socket, request_id):
            messages = self.messages.list(thread_id, size=FRAME_LIMIT)
            if messages is not None:
                self.connections.post(connection_id, frames.snapshot(messages))
        elif not self._is_followed(thread_id, request_id):
            return
        ended = self.turns.outcome(thread_id, request_id)
        self.connections.post(connection_id, frames.done(request_id, ended[1] if ended else "completed"))

    def _is_followed(self, thread_id: str, request_id: str) -> bool:
        """Say whether another answer has begun, which shows the messages itself."""
        turn = self.turns.find(thread_id)
        return turn is not None and turn.request_id != request_id
