"""The WebSocket connections of a thread: their rows, and posting frames to them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from threadbox.clock import unix_time
from threadbox.connections import ConnectionsClient
from threadbox.errors import RateLimitedError
from threadbox.queries import beginning, pages
from threadbox.telemetry import logger
from threadbox.updates import outlasting, transact, update_if

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


# As long as API Gateway waits for the function that lets a connection in; until that has answered, posts to it are
# answered with 410, as if it were gone.
OPENING_SECONDS = 30
MOST = 10
LONGEST = 2 * 3600 + 300
"""API Gateway ends a connection after two hours."""
RETRY_AFTER = 30
ROOM_TRIES = 5


class Socket(BaseModel):
    """
    One connection, which was let in at that time; ``client_id`` is that of all connections of one page, or "".

    ``older``: its client is known to be of the older generation, which never asks what is under way.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    thread_id: str
    connection_id: str
    user_id: str
    client_id: str = ""
    opened_at: int = 0
    older: bool = False

    def may_be_opening(self, now: float) -> bool:
        """Say whether API Gateway may call it gone because it is not there yet."""
        return now - self.opened_at < OPENING_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketStore:
    """
    The ``SOCK#`` items of threads and the ``CONN#`` items that lead from a connection back to its thread.

    Every change raises the version on the thread's ``TURN`` item, which a running turn reads with each renewal of
    its lease: so it learns of new sockets without asking. What they ask of it has its place there too, and finds it
    made.

    A thread has *per_thread* of them at most: the item ``SOCKETS`` has the ids of all, and is written with each.
    """

    table: "Table"
    per_thread: int = MOST
    now: Callable[[], float] = unix_time

    def create(self, socket: Socket) -> None:
        """
        Store a new connection.

        Raises:
            RateLimitedError: the thread has as many as may be.
        """
        row = {**socket.model_dump(exclude={"thread_id"}), "opened_at": int(self.now())}
        connection = {**_connection_key(socket.connection_id), **row, "of": socket.thread_id}
        counted: Any = {
            "TableName": self.table.name,
            "Key": _count_key(socket.thread_id),
            "UpdateExpression": "ADD connections :id",
            "ConditionExpression": "attribute_not_exists(connections) OR size(connections) < :most",
            "ExpressionAttributeValues": {":id": {socket.connection_id}, ":most": self.per_thread},
        }
        writes: list[TransactWriteItemTypeDef] = [
            {"Update": counted},
            {"Put": {"TableName": self.table.name, "Item": {**_key(socket.thread_id, socket.connection_id), **row}}},
            {"Put": {"TableName": self.table.name, "Item": connection}},
        ]
        for _ in range(ROOM_TRIES):
            if not transact(self.table, writes):
                self._raise_version(socket.thread_id)
                return
            self._make_room(socket.thread_id)
        raise _full()

    def find(self, connection_id: str) -> Socket | None:
        """Return the connection's row, or None when it is closed or revoked."""
        item = self.table.get_item(Key=_connection_key(connection_id), ConsistentRead=True).get("Item")
        return Socket.model_validate({**item, "thread_id": item["of"]}) if item else None

    def list(self, thread_id: str) -> "list[Socket]":
        """Return the thread's connections."""
        return [Socket.model_validate(item) for item in pages(self.table, beginning(thread_id, "SOCK#"))]

    def note_older(self, socket: Socket) -> None:
        """Note that the connection's client is of the older generation, if it is still there."""
        for key in (_key(socket.thread_id, socket.connection_id), _connection_key(socket.connection_id)):
            condition, values = "attribute_exists(connection_id)", {":true": True}
            update_if(self.table, key, update="SET older = :true", condition=condition, values=values)

    def delete(self, thread_id: str, connection_id: str) -> None:
        """Remove a connection; removing it again changes nothing."""
        self.table.delete_item(Key=_key(thread_id, connection_id))
        self.table.delete_item(Key=_connection_key(connection_id))
        self._count_out(thread_id, {connection_id})
        self._raise_version(thread_id)

    def _make_room(self, thread_id: str) -> None:
        """
        Drop those whose time is over, which API Gateway did not tell of.

        Raises:
            RateLimitedError: there are none.
        """
        item = self.table.get_item(Key=_count_key(thread_id), ConsistentRead=True).get("Item", {})
        counted: Any = item.get("connections", set())
        if len(counted) < self.per_thread:
            return
        alive = {socket.connection_id for socket in self.list(thread_id) if self.now() - socket.opened_at < LONGEST}
        over = counted - alive
        if not over:
            raise _full()
        for connection_id in over:
            self.table.delete_item(Key=_key(thread_id, connection_id))
            self.table.delete_item(Key=_connection_key(connection_id))
        self._count_out(thread_id, over)

    def _count_out(self, thread_id: str, connection_ids: set[str]) -> None:
        update_if(
            self.table,
            _count_key(thread_id),
            update="DELETE connections :ids",
            condition="attribute_exists(connections)",
            values={":ids": connection_ids},
        )

    def _raise_version(self, thread_id: str) -> None:
        write = partial(
            self.table.update_item,
            Key={"thread_id": thread_id, "sk": "TURN"},
            UpdateExpression="SET attachments = if_not_exists(attachments, :none) ADD sockets_version :one",
            ExpressionAttributeValues={":none": {}, ":one": 1},
        )
        outlasting(self.table, write)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketBroadcast:
    """Posts to all sockets of a thread, for what is said once; a turn has ordered writers instead."""

    store: SocketStore
    connections: ConnectionsClient
    now: Callable[[], float] = unix_time

    def post(self, thread_id: str, frame: str, *, but: str | None = None) -> int:
        """
        Post *frame* to every socket of the thread, or to all *but* one, and return how many took it.

        Those that are gone are forgotten, those that are full, or not there yet, passed over.
        """
        taken = 0
        for socket in self.store.list(thread_id):
            if socket.connection_id == but:
                continue
            try:
                delivered = self.connections.post(socket.connection_id, frame)
            except RateLimitedError:
                logger.warning("socket takes no frames", connection_id=socket.connection_id)
                continue
            taken += delivered
            if not delivered and not socket.may_be_opening(self.now()):
                self.store.delete(thread_id, socket.connection_id)
        return taken


def _full() -> RateLimitedError:
    return RateLimitedError("This thread is open in too many places already.", retry_after=RETRY_AFTER)


def _key(thread_id: str, connection_id: str) -> dict[str, str]:
    return {"thread_id": thread_id, "sk": f"SOCK#{connection_id}"}


def _count_key(thread_id: str) -> dict[str, str]:
    return {"thread_id": thread_id, "sk": "SOCKETS"}


def _connection_key(connection_id: str) -> dict[str, str]:
    return {"thread_id": f"CONN#{connection_id}", "sk": "CONN"}
