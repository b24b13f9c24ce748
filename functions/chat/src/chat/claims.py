"""The writes that make a request its thread's turn, or put it behind the one that runs."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chat.cuts import Cut
from chat.turn import turn_key
from threadbox.clock import unix_time
from threadbox.identifiers import thread_hash

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

    from chat.messages import Item

LEASE = 20
SHARDS = 8

# Words that DynamoDB keeps for itself.
NAMES = {"#state": "state", "#first": "first", "#cursor": "cursor"}
# What is known of how far a turn is, and nothing of the next one.
PROGRESS = "cancel, #first, #cursor, cursor_chunks, served, lagging, cut_off, ttft_ms, asks, takeovers, lost"
BEHIND = "next_request, next_seq, next_connection, next_model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Writes for the table of that name, each a part of somebody's transaction."""

    table: str
    now: Callable[[], float] = unix_time

    def once(self, thread_id: str, request_id: str, seq: int) -> "TransactWriteItemTypeDef":
        """Return the write that makes a request id good for one turn."""
        item: Item = {**request_key(thread_id, request_id), "seq": seq, "created_at": int(self.now())}
        return {"Put": {"TableName": self.table, "Item": item, "ConditionExpression": "attribute_not_exists(sk)"}}

    def claim(
        self, thread_id: str, asked: dict[str, Any], cutting: "Cutting", invocation: str
    ) -> "TransactWriteItemTypeDef":
        """Return the write that makes what was *asked* the turn, if there is none; it waits for that *invocation*."""
        update: UpdateTypeDef = {
            "TableName": self.table,
            "Key": turn_key(thread_id),
            "UpdateExpression": "SET request_id = :request, seq = :seq, connection_id = :connection, "
            "model = :model, #state = :queued, lease_until = :until, begun_ms = :now, invocation = :invocation"
            f"{cutting.update} "
            f"REMOVE outcome, {PROGRESS}, {BEHIND} ADD sockets_version :zero",
            "ConditionExpression": f"(attribute_not_exists(request_id) OR #state = :ended) AND {cutting.condition}",
            "ExpressionAttributeNames": NAMES,
            "ExpressionAttributeValues": {
                **asked,
                ":queued": "queued",
                ":ended": "ended",
                ":until": lease_until(self.now()),
                ":now": int(self.now() * 1000),
                ":zero": 0,
                ":invocation": invocation,
                **cutting.values,
            },
        }
        return {"Update": update}

    def behind(self, asked: dict[str, Any], running: dict[str, Any], cutting: "Cutting") -> "TransactWriteItemTypeDef":
        """Return the write that calls the *running* turn off and puts what was *asked* behind it."""
        behind = running.get("next_request")
        update: UpdateTypeDef = {
            "TableName": self.table,
            "Key": turn_key(running["thread_id"]),
            "UpdateExpression": "SET cancel = :true, next_request = :request, next_seq = :seq, "
            f"next_connection = :connection, next_model = :model{cutting.update}",
            "ConditionExpression": f"request_id = :running AND #state <> :ended AND {cutting.condition} AND "
            + ("next_request = :next" if behind else "attribute_not_exists(next_request)"),
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {
                **asked,
                ":true": True,
                ":running": running["request_id"],
                ":ended": "ended",
                **({":next": behind} if behind else {}),
                **cutting.values,
            },
        }
        return {"Update": update}

    def listed(self, thread_id: str, request_id: str) -> "TransactWriteItemTypeDef":
        """Return the write that lists the thread among those whose turn has not ended."""
        item: Item = {**running_key(thread_id), "request_id": request_id}
        return {"Put": {"TableName": self.table, "Item": item}}


def lease_until(now: float) -> int:
    """Return until when a lease holds that is taken or renewed now, in seconds since the epoch."""
    return int(now) + LEASE


def new_invocation() -> str:
    """Return a name for an invocation of the turn's function, which a queued turn waits for."""
    return secrets.token_hex(8)


def request_key(thread_id: str, request_id: str) -> dict[str, str]:
    """Return the key of the item that tells what became of a request."""
    return {"thread_id": thread_id, "sk": f"TURN#{request_id}"}


def running_key(thread_id: str) -> dict[str, str]:
    """Return the key of the item that lists the thread among those whose turn has not ended."""
    return {"thread_id": f"RUNNING#{int(thread_hash(thread_id), 16) % SHARDS}", "sk": thread_id}


@dataclass(frozen=True, slots=True)
class Cutting:
    """What the write that submits a request says of the history's cuts."""

    update: str
    condition: str
    values: dict[str, Any]


def cutting(cut: Cut | None, known_cut: int, running: dict[str, Any] | None) -> Cutting:
    """Return what a request that makes *cut*, or none, has to say of it."""
    if cut is None:
        return Cutting("", "(attribute_not_exists(cut) OR cut < :seq)", {})
    first = cut.first
    if running is not None and running.get("cut", 0) > running["seq"]:
        # The running turn's question was cut already, and stays so.
        first = min(first, int(str(running["cut_from"])))
    return Cutting(
        ", cut = :seq, cut_from = :first",
        "cut = :known" if known_cut else "attribute_not_exists(cut)",
        {":first": first, **({":known": known_cut} if known_cut else {})},
    )
