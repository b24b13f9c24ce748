"""The thread's tabs, as the turn under way sees them: which there are, and what they are shown around its answer."""

import asyncio
from dataclasses import dataclass

from chat import frames
from chat.messages import MessageStore
from chat.sizes import FRAME_LIMIT
from chat.turn import Turn
from chat.writers import Writers
from threadbox.connections import ConnectionsClient
from threadbox.sockets import SocketBroadcast, SocketStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Tabs:
    """Follows the sockets of one thread, and shows them its messages by their turn's *writers*."""

    sockets: SocketStore
    messages: MessageStore
    connections: ConnectionsClient
    writers: Writers

    async def follow(self, turn: Turn) -> None:
        """Let the writers follow the sockets, and what those ask of the turn as it is now."""
        sockets = await asyncio.to_thread(self.sockets.list, turn.thread_id)
        self.writers.sync(sockets, turn.attachments)

    async def show_question(self, turn: Turn) -> None:
        """Show the messages to all but the one that asked, which has its question."""
        await self._show_messages(turn, but=turn.connection_id)

    async def show_answer(self, turn: Turn) -> None:
        """
        Show the messages to all but the one that asked, behind the last chunk of the answer.

        Tabs of the older generation show each chunk in a message that they make up. To them belongs also the one that
        asked, if it has called the answer off: from there on it follows it as the others do.
        """
        called_off = turn.cancel and self.asked_by_older(turn)
        await self._show_messages(turn, but=None if called_off else turn.connection_id)

    def asked_by_older(self, turn: Turn) -> bool:
        """Say whether the client that asked is there, and known to be of the older generation."""
        return self.writers.is_older(turn.connection_id)

    async def clear(self, turn: Turn) -> None:
        """Once everything of the turn is out, empty all but the one that cleared the thread."""
        await self.writers.close()
        broadcast = SocketBroadcast(store=self.sockets, connections=self.connections)
        await asyncio.to_thread(broadcast.post, turn.thread_id, frames.cleared(), but=turn.cleared_by)

    async def _show_messages(self, turn: Turn, *, but: str | None) -> None:
        if self.writers.alone(but):
            return
        messages = await asyncio.to_thread(self.messages.list, turn.thread_id, size=FRAME_LIMIT)
        frame = frames.history_changed() if messages is None else frames.snapshot(messages)
        self.writers.frame(frame, but=but)
