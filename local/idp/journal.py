"""What was called and what came of it, without any secret: how tests see poll loops and reused refresh tokens."""

from collections import deque
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel

KEPT = 10_000

Endpoint = Literal["usercode", "token", "oauth_token", "revoke", "responses"]


class Entry(BaseModel):
    """One call."""

    endpoint: Endpoint
    time: float
    """When it came, in epoch seconds."""
    outcome: str = "under way"
    """``ok``, the code of the refusal, or the fault that was ordered; ``left``: the caller did not wait for it."""
    user_code: str | None = None
    grant_type: str | None = None
    grant_id: str | None = None
    account_id: str | None = None


class Journal:
    """The last calls, oldest first."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    def begin(self, endpoint: Endpoint) -> Entry:
        """A call that has just come; what becomes of it is written into the entry."""
        entry = Entry(endpoint=endpoint, time=self._now())
        self._entries.append(entry)
        return entry

    def entries(self) -> list[dict[str, object]]:
        """All there is, as JSON."""
        return [entry.model_dump() for entry in self._entries]
