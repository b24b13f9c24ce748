"""A turn: the row of a thread that says who answers which request, and what that waits for."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from threadbox.identifiers import thread_hash

Outcome = Literal["completed", "aborted", "error"]


class TurnState(StrEnum):
    """Where a turn stands."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class Ask(BaseModel):
    """Something the agent waits for the user to answer."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["permission", "question"]
    id: str
    asked_at: int = 0


class Attachment(BaseModel):
    """What a socket has asked of a turn: whether there is one, by a probe; or its answer, from the beginning."""

    model_config = ConfigDict(frozen=True)

    probe: str = ""
    acked: bool = False


class Turn(BaseModel):
    """
    The ``TURN`` item.

    ``seq`` is the number of the user's message; its answer's is the one after it. ``generation`` is that of the
    sandbox, at first of the one that served the turn before. ``first`` and ``cursor`` are the numbers in its event log
    behind which the answer begins, and up to which it was sent, when the turn was handed over; ``served`` are the
    connections that got all of that. ``asks`` is what the agent waits for, by tool call; ``attachments`` what sockets
    ask for, by connection.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    thread_id: str
    request_id: str
    state: TurnState
    seq: int
    connection_id: str
    epoch: int = 0
    lease_until: int = 0
    cancel: bool = False
    model: str = ""
    begun_at: int = 0
    generation: int | None = None
    first: int | None = None
    cursor: int | None = None
    served: frozenset[str] = frozenset()
    asks: dict[str, Ask] = {}
    attachments: dict[str, Attachment] = {}
    sockets_version: int = 0

    @property
    def answer_id(self) -> str:
        """The id of the answer's message, the same for whoever writes it."""
        return f"asst_{thread_hash(self.request_id)}"

    @property
    def part_id(self) -> str:
        """The id that the question's text gets in OpenCode, by which its answer is known."""
        return f"prt_{thread_hash(self.request_id)}"
