"""
Which sandboxes there are: against each owner's quota, and for the sweeper.

``USER#<id>``/``QUOTA`` has the threads whose sandboxes one user has, as a set: entering it twice, or leaving it twice,
counts once. ``SANDBOXES#<shard>`` has an item for each thread. Both are written only in the transaction that moves the
row into life or out of it (:class:`sandbox_ctl.sandboxes.SandboxStore`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from threadbox.errors import RateLimitedError
from threadbox.queries import pages, partition
from threadbox.updates import transact

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

SHARDS = 4
RETRY_AFTER = 30
"""Whoever has enough of them has to stop one, or to wait until one has been idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What is written of a sandbox beside its row. No quota counts that of a thread without an owner (None)."""

    table: "Table"
    per_user: int

    def entry(self, thread_id: str, user_id: str | None) -> list[Any]:
        """Return the writes that count the sandbox; the first is refused when its user has enough."""
        listed = {**_listed_key(thread_id), **({"user_id": user_id} if user_id else {})}
        put = {"Put": {"TableName": self.table.name, "Item": listed}}
        if user_id is None:
            return [put]
        quota = {
            "TableName": self.table.name,
            "Key": quota_key(user_id),
            "UpdateExpression": "ADD threads :thread",
            "ConditionExpression": "attribute_not_exists(threads) OR size(threads) < :most OR contains(threads, :id)",
            "ExpressionAttributeValues": {":thread": {thread_id}, ":id": thread_id, ":most": self.per_user},
        }
        return [{"Update": quota}, put]

    def exit(self, thread_id: str, user_id: str | None) -> list[Any]:
        """Return the writes that count it no longer; they are never refused."""
        delete = {"Delete": {"TableName": self.table.name, "Key": _listed_key(thread_id)}}
        if user_id is None:
            return [delete]
        quota = {
            "TableName": self.table.name,
            "Key": quota_key(user_id),
            "UpdateExpression": "DELETE threads :thread",
            "ExpressionAttributeValues": {":thread": {thread_id}},
        }
        return [{"Update": quota}, delete]

    def make_room(self, user_id: str, *, ended: Callable[[str], Any]) -> None:
        """
        Drop those of the user's that are there no more, as when their threads were deleted.

        *ended* gives the condition, as part of a transaction, that a thread has no sandbox that lives.

        Raises:
            RateLimitedError: all of them live.
        """
        members = self.threads_of(user_id)
        if len(members) < self.per_user:
            return
        dropped = [not transact(self.table, [ended(thread), *self.exit(thread, user_id)]) for thread in members]
        if not any(dropped):
            raise RateLimitedError(
                f"You have {len(members)} sandboxes running, which is as many as may be. Stop one of them, or wait.",
                retry_after=RETRY_AFTER,
                limit=self.per_user,
            )

    def threads_of(self, user_id: str) -> list[str]:
        """Return the threads of the user's sandboxes that are counted."""
        item = self.table.get_item(Key=quota_key(user_id), ConsistentRead=True).get("Item", {})
        threads: Any = item.get("threads", set())
        return sorted(threads)

    def members(self) -> list[tuple[str, str | None]]:
        """Return thread and user of every sandbox that is counted."""
        found: list[tuple[str, str | None]] = []
        for shard in range(SHARDS):
            items = pages(self.table, partition(f"SANDBOXES#{shard}"))
            found += [(str(item["sk"]), _text(item.get("user_id"))) for item in items]
        return found


def quota_key(user_id: str) -> dict[str, str]:
    """Return the key of what a user has."""
    return {"thread_id": f"USER#{user_id}", "sk": "QUOTA"}


def _listed_key(thread_id: str) -> dict[str, str]:
    return {"thread_id": f"SANDBOXES#{crc32(thread_id.encode()) % SHARDS}", "sk": thread_id}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
