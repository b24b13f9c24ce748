"""
What a thread's sockets are told outside of any answer.

A chunk travels in a response frame of its own that is done at once. Not done, it would make an empty message in the
``agents`` client, and take the place of the answer that a second tab is reading (measured, agents 0.32.0). As it is
the client's hooks pass over it, and the app reads it from the socket's messages.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from threadbox.sockets import SocketBroadcast


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Tells all sockets of a thread."""

    broadcast: SocketBroadcast
    new_id: Callable[[], str] = lambda: uuid4().hex

    def codex(self, thread_id: str, status: str, **data: str) -> int:
        """Say where the thread's sign-in or connection stands; return how many sockets took it."""
        return self._tell(thread_id, "data-codex", {"status": status, **data})

    def sandbox(self, thread_id: str, *, state: str, detail: str) -> int:
        """Say how far the start of the thread's sandbox has come; return how many sockets took it."""
        return self._tell(thread_id, "data-sandbox", {"state": state, "detail": detail})

    def _tell(self, thread_id: str, kind: str, data: dict[str, str]) -> int:
        chunk = json.dumps({"type": kind, "data": data, "transient": True})
        frame = {
            "type": "cf_agent_use_chat_response",
            "id": f"notice-{self.new_id()}",
            "body": chunk,
            "done": True,
            "outcome": "completed",
        }
        return self.broadcast.post(thread_id, json.dumps(frame))
