"""The transcript: UIMessages of a thread, one item each, in the order of their sequence numbers."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chat.bodies import BodyStore
from chat.cuts import CutStore, is_cut
from chat.shortening import shortened
from chat.turn import Turn
from threadbox.clock import unix_time
from threadbox.errors import HistoryUnavailableError, RateLimitedError
from threadbox.queries import between, pages
from threadbox.telemetry import logger
from threadbox.threads import thread_key
from threadbox.updates import update_if

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

Item = dict[str, str | int]
MessageId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
# An item may have 400 KB, its attributes' names and the other attributes included.
ITEM_BODY = 300 * 1024
# How many items to read first where few are expected to fit.
AT_ONCE = 25
MINUTE = 60
PACE_TRIES = 3
MINUTES_KNOWN = 1000


class UIMessage(BaseModel):
    """
    A message as the AI SDK shows it.

    ``parts`` are kept as they are: ``{"type":"text","text":…,"state":"done"}`` and its siblings.
    """

    model_config = ConfigDict(extra="ignore")

    id: MessageId
    role: Literal["user", "assistant", "system"]
    parts: list[dict[str, Any]] = Field(max_length=1000)
    metadata: dict[str, Any] | None = None

    def text(self) -> str:
        """Return the text parts, joined."""
        return "\n".join(str(part.get("text", "")) for part in self.parts if part.get("type") == "text")


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message's item. ``request_id`` is the request that asked a user's message."""

    number: int
    message_id: str
    request_id: str
    created_at: int
    item: dict[str, Any]


def message_key(thread_id: str, seq: int) -> dict[str, str]:
    """Return the key of the item that holds message number *seq*."""
    return {"thread_id": thread_id, "sk": f"MSG#{seq:010d}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStore:
    """
    The ``MSG#`` items of threads. None of them is ever written again: what changes gets a new number.

    Numbers are drawn from a counter on the thread's ``META`` item, two at a time: one for what the user says and one
    for the answer, so that an answer stands behind its question whatever is written first.
    """

    table: "Table"
    bodies: BodyStore
    cuts: CutStore
    now: Callable[[], float] = unix_time
    _minutes: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Of some threads, when their minute ends, as far as this function has seen."""

    def reserve(self, thread_id: str) -> int:
        """Return the number of the next user message; the one after it belongs to its answer."""
        answer = self.table.update_item(
            Key=thread_key(thread_id),
            UpdateExpression="ADD messages :two",
            ExpressionAttributeValues={":two": 2},
            ReturnValues="UPDATED_NEW",
        )
        return int(str(answer["Attributes"]["messages"])) - 1

    def reserve_paced(self, thread_id: str, *, per_minute: int) -> int:
        """
        As :meth:`reserve`, at most *per_minute* times within a minute, which begins with the first of them.

        Raises:
            RateLimitedError: there were as many.
        """
        now = int(self.now())
        values = {":one": 1, ":now": now}
        writes = [
            (
                "SET minute_ends = :end, minute_turns = :one ADD messages :two",
                "attribute_not_exists(minute_ends) OR minute_ends <= :now",
                values | {":end": now + MINUTE},
            ),
            (
                "ADD messages :two, minute_turns :one",
                "minute_ends > :now AND minute_turns < :most",
                values | {":most": per_minute},
            ),
        ]
        # Which of the two holds may change in between; to begin with the right one spares a call.
        if self._minutes.get(thread_id, 0) > now:
            writes.reverse()
        for write in writes * PACE_TRIES:
            item = self._reserve(thread_id, *write)
            if item is not None:
                self._remember_minute(thread_id, int(str(item["minute_ends"])))
                return int(str(item["messages"])) - 1
        ends = self.table.get_item(Key=thread_key(thread_id)).get("Item", {}).get("minute_ends", now)
        raise RateLimitedError(
            "These are too many messages within a minute. Please wait a moment.",
            retry_after=max(int(str(ends)) - now, 1),
            limit=per_minute,
        )

    def _remember_minute(self, thread_id: str, ends: int) -> None:
        if len(self._minutes) >= MINUTES_KNOWN:
            self._minutes.clear()
        self._minutes[thread_id] = ends

    def _reserve(self, thread_id: str, update: str, condition: str, values: dict[str, Any]) -> dict[str, Any] | None:
        key, values = thread_key(thread_id), {":two": 2, **values}
        return update_if(self.table, key, update=update, condition=condition, values=values)

    def creation(
        self, thread_id: str, seq: int, message: UIMessage, *, request_id: str, instead_of: int | None = None
    ) -> "list[TransactWriteItemTypeDef]":
        """
        Return the writes that store a user's *message*, as part of somebody's transaction.

        The second one claims the message's id for the thread, so that a message sent twice is stored once; with
        *instead_of* it takes the id over from the message with that number.
        """
        body = message.model_dump_json(exclude_none=True)
        item = {**self._item(thread_id, seq, message), "message": body, "request_id": request_id}
        claim: Item = {"thread_id": thread_id, "sk": f"MSGID#{message.id}", "seq": seq}
        unknown = "attribute_not_exists(sk)"
        return [
            {"Put": {"TableName": self.table.name, "Item": item, "ConditionExpression": unknown}},
            {"Put": {"TableName": self.table.name, "Item": claim, "ConditionExpression": unknown}}
            if instead_of is None
            else {
                "Put": {
                    "TableName": self.table.name,
                    "Item": claim,
                    "ConditionExpression": "seq = :known",
                    "ExpressionAttributeValues": {":known": instead_of},
                }
            },
        ]

    def answer(self, turn: Turn, message: UIMessage) -> bool:
        """
        Store the answer of *turn*, once; False when that is not the caller's to do any more.

        Then the turn is another function's, its question was cut from the history, or there is an answer already.
        """
        seq = turn.seq + 1
        item = {**self._item(turn.thread_id, seq, message), **self._body(turn, seq, message)}
        client = self.table.meta.client
        try:
            client.transact_write_items(
                TransactItems=[
                    {
                        "Put": {
                            "TableName": self.table.name,
                            "Item": item,
                            "ConditionExpression": "attribute_not_exists(sk)",
                        }
                    },
                    {"ConditionCheck": turn.held_and_uncut(self.table.name)},
                ]
            )
        except client.exceptions.TransactionCanceledException:
            if "body_key" in item:
                # What cannot be deleted now goes with its thread.
                with suppress(HistoryUnavailableError):
                    self.bodies.delete([str(item["body_key"])])
            return False
        return True

    def seq_of(self, thread_id: str, message_id: str) -> int | None:
        """Return the number of the user message with that id, or None."""
        item = self.table.get_item(Key={"thread_id": thread_id, "sk": f"MSGID#{message_id}"}, ConsistentRead=True).get(
            "Item"
        )
        return int(str(item["seq"])) if item else None

    def find(self, thread_id: str, seq: int) -> UIMessage | None:
        """Return message number *seq*, or None."""
        item = self.table.get_item(Key=message_key(thread_id, seq), ConsistentRead=True).get("Item")
        return UIMessage.model_validate_json(self.body(item)) if item else None

    def newest_first(self, thread_id: str, *, before: int | None = None, at_once: int = 0) -> Iterator[StoredMessage]:
        """
        Yield the items of the thread's messages, without what was cut.

        They are read a page at a time (the first of *at_once* items, if given), and only for as long as somebody asks.
        """
        return self._read(thread_id, low=0, high=before, forward=False, **({"Limit": at_once} if at_once else {}))

    def list(self, thread_id: str, *, size: float = inf) -> list[UIMessage] | None:
        """Return all messages of the thread, oldest first, or None if their JSON has more than *size* bytes."""
        newest_first = []
        for stored in self.newest_first(thread_id, at_once=0 if size == inf else AT_ONCE):
            if "body_key" in stored.item and size <= ITEM_BODY:
                return None
            body = self.body(stored.item)
            size -= len(body.encode())
            if size < 0:
                return None
            newest_first.append(UIMessage.model_validate_json(body))
        return newest_first[::-1]

    def oldest_first(self, thread_id: str, *, after: int = 0) -> Iterator[StoredMessage]:
        """Yield the items of the thread's messages behind number *after*, without what was cut."""
        return self._read(thread_id, low=after + 1, high=None, forward=True)

    def body(self, item: dict[str, Any]) -> str:
        """
        Return the JSON of an item's message.

        Raises:
            HistoryUnavailableError: it is not in the item, and cannot be read.
        """
        return str(item["message"]) if "message" in item else self.bodies.get(item["body_key"]).decode()

    def _read(
        self, thread_id: str, *, low: int, high: int | None, forward: bool, **options: Any
    ) -> Iterator[StoredMessage]:
        cuts = self.cuts.pending(thread_id)
        last = "MSG#~" if high is None else f"MSG#{high - 1:010d}"
        items = between(thread_id, f"MSG#{low:010d}", last)
        for item in pages(self.table, items, ScanIndexForward=forward, **options):
            number = int(item["sk"].removeprefix("MSG#"))
            if not is_cut(cuts, number):
                yield StoredMessage(
                    number, str(item["message_id"]), str(item.get("request_id", "")), int(item["created_at"]), item
                )

    def _item(self, thread_id: str, seq: int, message: UIMessage) -> Item:
        return {**message_key(thread_id, seq), "message_id": message.id, "created_at": int(self.now())}

    def _body(self, turn: Turn, seq: int, message: UIMessage) -> Item:
        """Return the attribute with the message's body, or with the key of the object that was made of it."""
        body = message.model_dump_json(exclude_none=True)
        if len(body.encode()) <= ITEM_BODY:
            return {"message": body}
        try:
            return {"body_key": self.bodies.put(turn.thread_id, seq, turn.epoch, body.encode())}
        except HistoryUnavailableError:
            # Better the most of it than nothing.
            logger.error("answer shortened", thread_id=turn.thread_id, request_id=turn.request_id)
            return {"message": shortened(body, ITEM_BODY)}
