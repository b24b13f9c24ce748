"""A thread: its owner, its counters and its tool policy, the ``META`` item of its partition."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from threadbox.clock import unix_time
from threadbox.errors import ForbiddenError
from threadbox.identifiers import thread_hash

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

SORT_KEY = "META"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadStore:
    """The ``META`` items."""

    table: "Table"
    now: Callable[[], float] = unix_time

    def claim(self, thread_id: str, *, user_id: str) -> None:
        """
        Make *user_id* the owner of the thread, or see that it already is.

        The first user of a thread owns it; one conditional write decides between two firsts.

        Raises:
            ForbiddenError: somebody else owns it.
        """
        key = thread_key(thread_id)
        item = self.table.get_item(Key=key, ConsistentRead=True, ProjectionExpression="user_id").get("Item")
        if item is not None and item.get("user_id") == user_id:
            return
        try:
            # The way back from the hash that stands for the thread in AWS; the same whoever writes it.
            self.table.put_item(Item={**hash_key(thread_hash(thread_id)), "of": thread_id})
            self.table.update_item(
                Key=key,
                UpdateExpression="SET user_id = :user, created_at = if_not_exists(created_at, :now)",
                ConditionExpression="attribute_not_exists(user_id) OR user_id = :user",
                ExpressionAttributeValues={":user": user_id, ":now": int(self.now())},
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException as exc:
            raise ForbiddenError("This thread belongs to somebody else.") from exc

    def find_owner(self, thread_id: str) -> str | None:
        """Return the user that owns the thread, or None when nobody does."""
        key = thread_key(thread_id)
        item = self.table.get_item(Key=key, ConsistentRead=True, ProjectionExpression="user_id").get("Item", {})
        return str(item["user_id"]) if "user_id" in item else None

    def of_hash(self, digest: str) -> str | None:
        """Return the thread that :func:`thread_hash` made *digest* of, or None."""
        item = self.table.get_item(Key=hash_key(digest)).get("Item")
        return str(item["of"]) if item else None


def thread_key(thread_id: str) -> dict[str, str]:
    """Return the key of the thread's ``META`` item."""
    return {"thread_id": thread_id, "sk": SORT_KEY}


def hash_key(digest: str) -> dict[str, str]:
    """Return the key of the item that leads from a thread's hash back to it."""
    return {"thread_id": f"HASH#{digest}", "sk": SORT_KEY}
