"""The WebSocket connections of a thread: their rows, and posting frames to them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from threadbox.clock import unix_time
from threadbox.errors import RateLimitedError
from threadbox.queries import beginning, pages
from threadbox.telemetry import logger
from threadbox.updates import outlasting, update_if

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient
    from mypy_boto3_dynamodb.service_resource import Table


# As long as API Gateway waits for the function that lets a connection in; until that has answered, posts to it are
# answered with 410, as if it were gone.
OPENING_SECONDS = 30


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
    """

    table: "Table"
    now: Callable[[], float] = unix_time

    def create(self, socket: Socket) -> None:
        """Store a new connection."""
        row = {**socket.model_dump(exclude={"thread_id"}), "opened_at": int(self.now())}
        self.table.meta.client.transact_write_items(
            TransactItems=[
                {
                    "Put": {
                        "TableName": self.table.name,
                        "Item": {**_key(socket.thread_id, socket.connection_id), **row},
                    }
                },
                {
                    "Put": {
                        "TableName": self.table.name,
                        "Item": {**_connection_key(socket.connection_id), **row, "of": socket.thread_id},
                    }
                },
            ]
        )
        self._raise_version(socket.thread_id)

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
        self._raise_version(thread_id)

    def _raise_version(self, thread_id: str) -> None:
        write = partial(
            self.table.update_item,
            Key={"thread_id": thread_id, "sk": "TURN"},
            UpdateExpression="SET attachments = if_not_exists(attachments, :none) ADD sockets_version :one",
            ExpressionAttributeValues={":none": {}, ":one": 1},
        )
        outlasting(self.table, write)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsClient:
    """Posts through ``@connections``."""

    client: "ApiGatewayManagementApiClient"

    def post(self, connection_id: str, frame: str) -> bool:
        """
        Post one frame; False when the connection is gone.

        Raises:
            RateLimitedError: the connection's buffer is full, or API Gateway throttles or cannot be reached.
        """
        try:
            self.client.post_to_connection(ConnectionId=connection_id, Data=frame.encode())
        except self.client.exceptions.GoneException:
            return False
        except (ClientError, BotoCoreError) as exc:
            raise RateLimitedError("The connection takes no frames just now.") from exc
        return True

    def close(self, connection_id: str) -> bool:
        """Close a connection; False when it was gone, or is not there yet. A failure is left to its limits."""
        try:
            self.client.delete_connection(ConnectionId=connection_id)
        except self.client.exceptions.GoneException:
            return False
        except (ClientError, BotoCoreError):
            logger.warning("connection not closed", connection_id=connection_id)
        return True


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


def _key(thread_id: str, connection_id: str) -> dict[str, str]:
    return {"thread_id": thread_id, "sk": f"SOCK#{connection_id}"}


def _connection_key(connection_id: str) -> dict[str, str]:
    return {"thread_id": f"CONN#{connection_id}", "sk": "CONN"}
