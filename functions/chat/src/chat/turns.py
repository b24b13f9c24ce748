"""
Turns: who answers which request of a thread, one at a time.

::

    submit ──▶ queued ──start──▶ running ──end──▶ ended
                  └────────── recover ──────────────┘

The ``TURN`` item is the running turn, or the last one. Whoever runs it holds a lease under an epoch; every write of
its own is conditional on both, so that a stale one is refused. A request that comes while another runs is put behind
it (``next_request``) and calls it off; ending a turn promotes what stands behind it in the same write. ``TURN#<id>``
makes a request id good for one turn; ``RUNNING#<shard>`` lists the threads whose turn has not ended.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Key

from chat.turn import Ask, Outcome, Turn, TurnState
from threadbox.clock import unix_time
from threadbox.errors import ConflictError
from threadbox.identifiers import thread_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

    from chat.messages import Item

LEASE = 20
SHARDS = 8
ATTEMPTS = 12

# Words that DynamoDB keeps for itself.
NAMES = {"#state": "state", "#first": "first", "#cursor": "cursor"}
NAMED = {attribute: name for name, attribute in NAMES.items()}

# Which write of a transaction was refused: by its place, or because another transaction was under way.
ONCE, TURN, CONFLICT = 0, 1, -1


class Submitted(StrEnum):
    """What became of a request."""

    CLAIMED = "claimed"
    BEHIND = "behind"
    DUPLICATE = "duplicate"
    KNOWN_MESSAGE = "known_message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What became of a request, and which request it pushed out of the place behind the running one."""

    result: Submitted
    displaced: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStore:
    """The ``TURN`` items."""

    table: "Table"
    now: Callable[[], float] = unix_time

    def submit(
        self,
        thread_id: str,
        request_id: str,
        *,
        seq: int,
        connection_id: str,
        model: str = "",
        writes: "Sequence[TransactWriteItemTypeDef]",
    ) -> Submission:
        """
        Claim the thread's turn for a request, or put the request behind the running one and call that off.

        *writes* happen in the same transaction; when one of them is refused, its message is known and nothing was
        written. A request id that was seen before changes nothing.

        Raises:
            ConflictError: the thread's turn changed hands too often meanwhile.
        """
        asked = {":request": request_id, ":seq": seq, ":connection": connection_id, ":model": model}
        once, listed = self._once(thread_id, request_id, seq), self._listed(thread_id, request_id)
        running: dict[str, Any] | None = None
        for _ in range(ATTEMPTS):
            claim = [self._claim(thread_id, asked), listed] if running is None else [self._behind(asked, running)]
            refused = self._transact([once, *claim, *writes])
            if not refused:
                if running is None:
                    return Submission(result=Submitted.CLAIMED)
                return Submission(result=Submitted.BEHIND, displaced=_text(running.get("next_request")))
            if ONCE in refused:
                return Submission(result=Submitted.DUPLICATE)
            if refused - {TURN, CONFLICT}:
                return Submission(result=Submitted.KNOWN_MESSAGE)
            item = self.table.get_item(Key=_key(thread_id), ConsistentRead=True).get("Item", {})
            running = item if item.get("state") in (TurnState.QUEUED, TurnState.RUNNING) else None
        raise ConflictError("Too many messages at once. Please try again.", retry_after=1)

    def find(self, thread_id: str) -> Turn | None:
        """Return the running turn, or the last one; None when there never was one."""
        item = self.table.get_item(Key=_key(thread_id), ConsistentRead=True).get("Item")
        return Turn.model_validate(item) if item and "request_id" in item else None

    def start(self, thread_id: str, request_id: str) -> Turn | None:
        """Begin a queued turn; None when somebody else did, or it is not this request's any more."""
        return self._update(
            thread_id,
            "SET #state = :running, lease_until = :until ADD epoch :one",
            "request_id = :request AND #state = :queued",
            {":request": request_id, ":running": "running", ":queued": "queued", ":until": self._lease(), ":one": 1},
        )

    def renew(self, turn: Turn, *, generation: int | None, asks: dict[str, Ask] | None = None) -> Turn | None:
        """
        Renew the lease and read what others wrote meanwhile; None when the turn is no longer the caller's.

        *generation* and *asks* are written too, where they are given.
        """
        known = {"generation": generation, "asks": None if asks is None else _plain(asks)}
        changes = {name: value for name, value in known.items() if value is not None}
        return self._held(turn, "SET lease_until = :until", {":until": self._lease()}, changes)

    def hand_over(self, turn: Turn, *, first: int, cursor: int, served: frozenset[str]) -> Turn | None:
        """
        Queue the turn for a further function, which goes on behind *cursor*; None when it is not the caller's.

        The *served* connections have everything up to there.
        """
        values = {":queued": "queued", ":until": self._lease()}
        place = {"first": first, "cursor": cursor, "served": sorted(served)}
        return self._held(turn, "SET #state = :queued, lease_until = :until", values, place)

    def cancel(self, thread_id: str, request_id: str) -> Turn | None:
        """Call a turn off; None when it has ended, or is not this request's."""
        return self._update(
            thread_id,
            "SET cancel = :true",
            "request_id = :request AND #state <> :ended",
            {":request": request_id, ":true": True, ":ended": "ended"},
        )

    def take_over(self, thread_id: str, request_id: str, *, expired_only: bool) -> Turn | None:
        """
        Take a turn whose function died, to end it; None when it has ended, or another's lease still holds.

        With *expired_only* false the caller knows that the function is dead, and the lease does not count.
        """
        return self._update(
            thread_id,
            "SET #state = :running, lease_until = :until ADD epoch :one",
            "request_id = :request AND #state <> :ended" + (" AND lease_until <= :now" if expired_only else ""),
            {
                ":request": request_id,
                ":running": "running",
                ":ended": "ended",
                ":until": self._lease(),
                ":one": 1,
                **({":now": int(self.now())} if expired_only else {}),
            },
        )

    def end(self, turn: Turn, outcome: Outcome) -> Turn | None:
        """
        End the turn and promote what stands behind it: the turn to start next, or the ended one.

        None when the turn is no longer the caller's, or its sockets changed since *turn* was read: then the caller
        looks after them and tries again.
        """
        held = "request_id = :request AND epoch = :epoch AND #state = :running AND sockets_version = :version"
        values = {
            ":request": turn.request_id,
            ":epoch": turn.epoch,
            ":running": "running",
            ":version": turn.sockets_version,
            ":none": {},
        }
        ended = self._update(
            turn.thread_id,
            "SET #state = :ended, outcome = :outcome, attachments = :none REMOVE cancel, lease_until, asks",
            f"{held} AND attribute_not_exists(next_request)",
            {**values, ":ended": "ended", ":outcome": outcome},
        )
        ended = ended or self._update(
            turn.thread_id,
            "SET #state = :queued, request_id = next_request, seq = next_seq, connection_id = next_connection, "
            "model = next_model, lease_until = :until, begun_at = :now, attachments = :none "
            "REMOVE cancel, #first, #cursor, served, asks, next_request, next_seq, next_connection, next_model",
            f"{held} AND attribute_exists(next_request)",
            {**values, ":queued": "queued", ":until": self._lease(), ":now": int(self.now())},
        )
        if ended is not None:
            self._record(turn, outcome, ended)
        return ended

    def outcome(self, thread_id: str, request_id: str) -> tuple[int, str] | None:
        """
        Return message number and outcome of a request that has ended, or None.

        Of one that ended in this moment the outcome may not be written down yet.
        """
        item = self.table.get_item(Key=_request_key(thread_id, request_id), ConsistentRead=True).get("Item")
        return (int(str(item["seq"])), str(item.get("outcome", "completed"))) if item else None

    def unended(self) -> list[tuple[str, str]]:
        """Return thread and request id of every turn whose lease has run out."""
        expired = []
        for shard in range(SHARDS):
            answer = self.table.query(KeyConditionExpression=Key("thread_id").eq(f"RUNNING#{shard}"))
            for item in answer["Items"]:
                turn = self.find(str(item["sk"]))
                if turn is None or turn.state == TurnState.ENDED:
                    continue
                if turn.lease_until <= self.now():
                    expired.append((turn.thread_id, turn.request_id))
        return expired

    def _lease(self) -> int:
        return int(self.now()) + LEASE

    def _once(self, thread_id: str, request_id: str, seq: int) -> "TransactWriteItemTypeDef":
        item: Item = {**_request_key(thread_id, request_id), "seq": seq, "created_at": int(self.now())}
        return {"Put": {"TableName": self.table.name, "Item": item, "ConditionExpression": "attribute_not_exists(sk)"}}

    def _claim(self, thread_id: str, asked: dict[str, Any]) -> "TransactWriteItemTypeDef":
        update: UpdateTypeDef = {
            "TableName": self.table.name,
            "Key": _key(thread_id),
            "UpdateExpression": "SET request_id = :request, seq = :seq, connection_id = :connection, "
            "model = :model, #state = :queued, lease_until = :until, begun_at = :now "
            "REMOVE cancel, outcome, #first, #cursor, served, asks, "
            "next_request, next_seq, next_connection, next_model "
            "ADD sockets_version :zero",
            "ConditionExpression": "attribute_not_exists(request_id) OR #state = :ended",
            "ExpressionAttributeNames": NAMES,
            "ExpressionAttributeValues": {
                **asked,
                ":queued": "queued",
                ":ended": "ended",
                ":until": self._lease(),
                ":now": int(self.now()),
                ":zero": 0,
            },
        }
        return {"Update": update}

    def _behind(self, asked: dict[str, Any], running: dict[str, Any]) -> "TransactWriteItemTypeDef":
        behind = running.get("next_request")
        update: UpdateTypeDef = {
            "TableName": self.table.name,
            "Key": _key(running["thread_id"]),
            "UpdateExpression": "SET cancel = :true, next_request = :request, next_seq = :seq, "
            "next_connection = :connection, next_model = :model",
            "ConditionExpression": "request_id = :running AND #state <> :ended AND "
            + ("next_request = :next" if behind else "attribute_not_exists(next_request)"),
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {
                **asked,
                ":true": True,
                ":running": running["request_id"],
                ":ended": "ended",
                **({":next": behind} if behind else {}),
            },
        }
        return {"Update": update}

    def _listed(self, thread_id: str, request_id: str) -> "TransactWriteItemTypeDef":
        item: Item = {**running_key(thread_id), "request_id": request_id}
        return {"Put": {"TableName": self.table.name, "Item": item}}

    def _record(self, turn: Turn, outcome: Outcome, successor: Turn) -> None:
        """Write down how the request ended, and keep the list of unended turns."""
        self.table.update_item(
            Key=_request_key(turn.thread_id, turn.request_id),
            UpdateExpression="SET outcome = :outcome, ended_at = :now",
            ExpressionAttributeValues={":outcome": outcome, ":now": int(self.now())},
        )
        if successor.state == TurnState.QUEUED:
            self.table.put_item(Item={**running_key(turn.thread_id), "request_id": successor.request_id})
            return
        # A turn claimed since then has put its own request id there: that one stays.
        with suppress(self.table.meta.client.exceptions.ConditionalCheckFailedException):
            self.table.delete_item(
                Key=running_key(turn.thread_id),
                ConditionExpression="request_id = :request",
                ExpressionAttributeValues={":request": turn.request_id},
            )

    def _transact(self, items: "list[TransactWriteItemTypeDef]") -> set[int]:
        """Write all or nothing; return which writes were refused, none of them when all was written."""
        client = self.table.meta.client
        try:
            client.transact_write_items(TransactItems=items)
        except client.exceptions.TransactionCanceledException as exc:
            codes = [reason.get("Code", "None") for reason in exc.response["CancellationReasons"]]
            refused = {place for place, code in enumerate(codes) if code == "ConditionalCheckFailed"}
            return refused or {CONFLICT}
        return set()

    def _held(self, turn: Turn, update: str, values: dict[str, Any], changes: dict[str, Any]) -> Turn | None:
        held = {":request": turn.request_id, ":epoch": turn.epoch, ":running": "running"}
        return self._update(
            turn.thread_id,
            update + "".join(f", {NAMED.get(name, name)} = :{name}" for name in changes),
            "request_id = :request AND epoch = :epoch AND #state = :running",
            {**held, **values, **{f":{name}": value for name, value in changes.items()}},
        )

    def _update(self, thread_id: str, update: str, condition: str, values: dict[str, Any]) -> Turn | None:
        try:
            answer = self.table.update_item(
                Key=_key(thread_id),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={name: NAMES[name] for name in NAMES if name in update + condition},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            return None
        return Turn.model_validate(answer["Attributes"])


def _key(thread_id: str) -> dict[str, str]:
    return {"thread_id": thread_id, "sk": "TURN"}


def _request_key(thread_id: str, request_id: str) -> dict[str, str]:
    return {"thread_id": thread_id, "sk": f"TURN#{request_id}"}


def running_key(thread_id: str) -> dict[str, str]:
    """Return the key of the item that lists the thread among those whose turn has not ended."""
    return {"thread_id": f"RUNNING#{int(thread_hash(thread_id), 16) % SHARDS}", "sk": thread_id}


def _plain(asks: dict[str, Ask]) -> dict[str, dict[str, Any]]:
    return {call: ask.model_dump() for call, ask in asks.items()}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
