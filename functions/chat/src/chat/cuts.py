"""
Cuts: messages that are no longer part of their thread's history, though they may not be deleted yet.

::

    regenerate, edit:  1 2 3 4 5 6 7 8 | 9      CUT#9, first 3: the messages from 3 up to 9 are gone
    clear:             1 2 3 4 5 6 7 8 |        CUT#9, first 0: and so are the turns

A cut is made in the transaction that makes it necessary, so whoever reads sees all or nothing of it. Deleting comes
after; whoever does it may die, and anybody begins it anew. Nothing is written under a cut number any more: a message
is refused when a cut with a higher number was made meanwhile, an answer when its question was cut (``TURN``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat.bodies import BodyStore
from threadbox.queries import beginning, between, pages
from threadbox.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

CLAIMS_AT_ONCE = 50
# Short messages are many: they are not to take a call for every few of them.


@dataclass(frozen=True, slots=True)
class Cut:
    """The messages from number *first* up to *number* are gone; *first* 0: the whole history, its turns too."""

    number: int
    first: int

    def covers(self, seq: int) -> bool:
        """Say whether message number *seq* is gone."""
        return self.first <= seq < self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class CutStore:
    """The ``CUT#`` items, and the deletion of what they cover."""

    table: "Table"
    bodies: BodyStore

    def mark(self, thread_id: str, cut: Cut) -> "TransactWriteItemTypeDef":
        """Return the write that makes a cut, as part of somebody's transaction."""
        item: dict[str, str | int] = {**_key(thread_id, cut.number), "first": cut.first}
        return {"Put": {"TableName": self.table.name, "Item": item}}

    def pending(self, thread_id: str) -> list[Cut]:
        """Return the cuts whose messages are not all deleted yet, in the order in which they were made."""
        return [
            Cut(number=int(item["sk"].removeprefix("CUT#")), first=int(str(item["first"])))
            for item in pages(self.table, beginning(thread_id, "CUT#"))
        ]

    def sweep(self, thread_id: str) -> int:
        """
        Delete what the thread's cuts cover, then the cuts, and return how many messages that were.

        Raises:
            HistoryUnavailableError: a body could not be deleted; its cut stays.
        """
        removed = 0
        for cut in self.pending(thread_id):
            removed += self._sweep(thread_id, cut)
            self.table.delete_item(Key=_key(thread_id, cut.number))
        if removed:
            logger.info("cut messages deleted", thread_id=thread_id, removed=removed)
        return removed

    def _sweep(self, thread_id: str, cut: Cut) -> int:
        covered = between(thread_id, f"MSG#{cut.first:010d}", f"MSG#{cut.number - 1:010d}")
        items = list(pages(self.table, covered, projection="sk, message_id, request_id, body_key"))
        if any("body_key" in item for item in items) or cut.first == 0:
            self.bodies.delete_thread(thread_id, first=cut.first, until=cut.number)
        # Only what users say claims its id.
        asked = [str(item["message_id"]) for item in items if "request_id" in item]
        self._delete_claims(thread_id, asked, below=cut.number)
        with self.table.batch_writer() as batch:
            for item in items:
                batch.delete_item(Key={"thread_id": thread_id, "sk": item["sk"]})
            if cut.first == 0:
                for sort_key in self._turns(thread_id, below=cut.number):
                    batch.delete_item(Key={"thread_id": thread_id, "sk": sort_key})
        return len(items)

    def _turns(self, thread_id: str, *, below: int) -> Iterator[str]:
        """Yield the sort keys of the requests whose message has a lower number."""
        for item in pages(self.table, beginning(thread_id, "TURN#"), projection="sk, seq"):
            if int(str(item.get("seq", 0))) < below:
                yield str(item["sk"])

    def _delete_claims(self, thread_id: str, message_ids: list[str], *, below: int) -> None:
        """Delete what claims the ids of cut messages, but not where an id belongs to a later message by now."""
        for start in range(0, len(message_ids), CLAIMS_AT_ONCE):
            left = message_ids[start : start + CLAIMS_AT_ONCE]
            while left:
                left = self._refused(thread_id, left, below=below)

    def _refused(self, thread_id: str, message_ids: list[str], *, below: int) -> list[str]:
        """Delete all claims or none; return those to try again with, without those that are in the way."""
        client = self.table.meta.client
        deletes: list[TransactWriteItemTypeDef] = [
            {
                "Delete": {
                    "TableName": self.table.name,
                    "Key": {"thread_id": thread_id, "sk": f"MSGID#{message_id}"},
                    "ConditionExpression": "attribute_not_exists(sk) OR seq < :below",
                    "ExpressionAttributeValues": {":below": below},
                }
            }
            for message_id in message_ids
        ]
        try:
            client.transact_write_items(TransactItems=deletes)
        except client.exceptions.TransactionCanceledException as exc:
            reasons = [reason.get("Code") for reason in exc.response["CancellationReasons"]]
            return [each for each, code in zip(message_ids, reasons, strict=True) if code != "ConditionalCheckFailed"]
        return []


def is_cut(cuts: Iterable[Cut], seq: int) -> bool:
    """Say whether one of the *cuts* covers message number *seq*."""
    return any(cut.covers(seq) for cut in cuts)


def _key(thread_id: str, number: int) -> dict[str, str]:
    return {"thread_id": thread_id, "sk": f"CUT#{number:010d}"}
