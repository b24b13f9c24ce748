"""A turn: the row of a thread that says who answers which request, and what that waits for."""

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from threadbox.control import Access
from threadbox.identifiers import thread_hash

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import ConditionCheckTypeDef

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


class Place(NamedTuple):
    """A place in an answer: behind so many chunks of the event with number ``n``; None: behind all of them."""

    n: int
    chunks: int | None = None

    def covers(self, n: int, chunk: int) -> bool:
        """Say whether chunk number *chunk*, from 1, of event *n* lies before this place."""
        return n < self.n or (n == self.n and (self.chunks is None or chunk <= self.chunks))


BEGINNING = Place(0)
UNKNOWN_CUT = -1
"""The last cut that a session knows of which was begun in an earlier sandbox."""


class Attachment(BaseModel):
    """What a socket has asked of a turn: whether there is one, by a probe; or its answer, from the beginning."""

    model_config = ConfigDict(frozen=True)

    probe: str = ""
    acked: bool = False


class Turn(BaseModel):
    """
    The ``TURN`` item.

    ``seq`` is the number of the user's message; its answer's is the one after it. ``generation`` is that of the
    sandbox, at first of the one that served the turn before. ``first`` is the number in its event log behind which the
    answer begins, once it was asked for; ``cursor`` and ``cursor_chunks`` the place up to which it was sent, ``served``
    the connections that got all of that, ``lagging`` those that were to and did not yet. ``asks`` is what the agent
    waits for, by tool call; ``attachments`` what sockets ask for, by connection. ``begun_ms`` is when it came to be the
    running one, in milliseconds since the epoch, ``ttft_ms`` how long after that the answer began.

    ``invocation`` names the invocation of the function that it waits for, or that runs it. ``takeovers`` is how many of
    them died, ``lost`` whether the last one did: then what ``lagging`` connections got is not known. ``cut_off`` are
    the clients that got the beginning of the answer, and lost their connection before its end.

    ``cut`` is the number of the thread's last cut, which begins at ``cut_from``; ``cleared_by`` the connection that
    cleared the thread, if that cut is a clear. ``session_cut`` is the last cut that the agent's session knows of,
    ``session_id`` that session, if it is not the first one of its sandbox, of generation ``session_of``.
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
    begun_ms: int = 0
    ttft_ms: int | None = None
    generation: int | None = None
    first: int | None = None
    cursor: int | None = None
    cursor_chunks: int | None = None
    served: frozenset[str] = frozenset()
    lagging: frozenset[str] = frozenset()
    cut_off: frozenset[str] = frozenset()
    invocation: str = ""
    takeovers: int = 0
    lost: bool = False
    asks: dict[str, Ask] = {}
    attachments: dict[str, Attachment] = {}
    sockets_version: int = 0
    cut: int = 0
    cut_from: int = 0
    cleared_by: str = ""
    session_cut: int = 0
    session_id: str = ""
    session_of: int | None = None

    @property
    def answer_id(self) -> str:
        """The id of the answer's message, the same for whoever writes it."""
        return f"asst_{correlation_of(self.request_id)}"

    @property
    def part_id(self) -> str:
        """The id that the question's text gets in OpenCode, by which its answer is known."""
        return part_id(self.request_id)

    @property
    def under_way(self) -> bool:
        """Say whether it has not ended."""
        return self.state != TurnState.ENDED

    @property
    def place(self) -> Place | None:
        """Up to where the answer was sent, or None when nothing of it was."""
        return None if self.cursor is None else Place(self.cursor, self.cursor_chunks)

    def missed_by(self, client_id: str) -> bool:
        """Say whether it has ended, and that client has not got all of it."""
        return not self.under_way and client_id in self.cut_off

    @property
    def cleared(self) -> bool:
        """Say whether the thread was cleared since the turn was asked for."""
        return self.seq < self.cut and self.cut_from == 0

    @property
    def context_is_stale(self) -> bool:
        """Say whether the agent may know what was cut from the history."""
        return self.cut != self.session_cut

    def reach(self, access: Access) -> Access:
        """Return *access* with the session in which the thread is talked about."""
        if not self.session_id or self.session_of != access.generation:
            return access
        return access.model_copy(update={"session_id": self.session_id})

    def held_and_uncut(self, table: str) -> "ConditionCheckTypeDef":
        """Return the check that the turn still belongs to whoever read this one, and its question to the history."""
        return {
            "TableName": table,
            "Key": turn_key(self.thread_id),
            "ConditionExpression": "request_id = :request AND epoch = :epoch AND "
            "(attribute_not_exists(cut) OR cut <= :seq OR cut_from > :seq)",
            "ExpressionAttributeValues": {":request": self.request_id, ":epoch": self.epoch, ":seq": self.seq},
        }


def correlation_of(request_id: str) -> str:
    """
    Return the correlation id of all that is done for a request, by whichever function.

    It stands in the id of the answer's message, which a user can tell.
    """
    return thread_hash(request_id)


def part_id(request_id: str) -> str:
    """Return the id that a question's text gets in OpenCode, by which its answer is known."""
    return f"prt_{thread_hash(request_id)}"


def turn_key(thread_id: str) -> dict[str, str]:
    """Return the key of the item that holds the running turn, or the last one."""
    return {"thread_id": thread_id, "sk": "TURN"}
