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
from functools import partial
from typing import TYPE_CHECKING, Any

from chat.claims import (
    BEHIND,
    NAMES,
    PROGRESS,
    SHARDS,
    Claims,
    cutting,
    lease_until,
    new_invocation,
    request_key,
    running_key,
)
from chat.cuts import Cut
from chat.records import TurnRecord
from chat.turn import Ask, Outcome, Place, Turn, TurnState, turn_key
from threadbox.clock import unix_time
from threadbox.errors import ConflictError
from threadbox.queries import pages, partition
from threadbox.updates import outlasting, update_if

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 12
# How many functions of one turn may die before it ends.
TAKEOVERS = 3
HAND_OVER = "SET #state = :queued, lease_until = :until, lost = :false, invocation = :invocation"
NAMED = {attribute: name for name, attribute in NAMES.items()}

# Which write of a transaction was refused: by its place, or because another transaction was under way.
ONCE, TURN, CONFLICT = 0, 1, -1


class Submitted(StrEnum):
    """What became of a request."""

    CLAIMED = "claimed"
    BEHIND = "behind"
    DUPLICATE = "duplicate"
    KNOWN_MESSAGE = "known_message"
    CUT = "cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """
    What became of a request, and which request it pushed out of the place behind the running one.

    ``cut``: what it made needless is there to be deleted. ``invocation`` is the one that a claimed turn waits for.
    """

    result: Submitted
    invocation: str = ""
    displaced: str | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """How far an answer was sent, the connections that got everything up to there, and those that lag behind."""

    place: Place
    served: frozenset[str]
    lagging: frozenset[str] = frozenset()

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the turn that say so."""
        return {
            "cursor": self.place.n,
            "cursor_chunks": self.place.chunks,
            "served": sorted(self.served),
            "lagging": sorted(self.lagging),
        }


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
        cut: Cut | None = None,
        known_cut: int = 0,
    ) -> Submission:
        """
        Claim the thread's turn for a request, or put the request behind the running one and call that off.

        *writes* happen in the same transaction; when one of them is refused, its message is known and nothing was
        written. A request id that was seen before changes nothing. A message whose number is lower than that of a cut
        would be lost: it is told so, and nothing was written. With *cut* the request makes one itself, if
        *known_cut* is the number of the last.

        Raises:
            ConflictError: the thread's turn changed hands too often meanwhile.
        """
        asked = {":request": request_id, ":seq": seq, ":connection": connection_id, ":model": model}
        invocation = new_invocation()
        claims = Claims(table=self.table.name, now=self.now)
        once, listed = claims.once(thread_id, request_id, seq), claims.listed(thread_id, request_id)
        running: dict[str, Any] | None = None
        for _ in range(ATTEMPTS):
            cuts = cutting(cut, known_cut, running)
            claim = (
                [claims.claim(thread_id, asked, cuts, invocation), listed]
                if running is None
                else [claims.behind(asked, running, cuts)]
            )
            refused = self._transact([once, *claim, *writes])
            if not refused:
                if running is None:
                    return Submission(result=Submitted.CLAIMED, invocation=invocation, cut=cut is not None)
                displaced = _text(running.get("next_request"))
                return Submission(result=Submitted.BEHIND, displaced=displaced, cut=cut is not None)
            if ONCE in refused:
                return Submission(result=Submitted.DUPLICATE)
            if refused - {TURN, CONFLICT}:
                return Submission(result=Submitted.KNOWN_MESSAGE)
            item = self.table.get_item(Key=turn_key(thread_id), ConsistentRead=True).get("Item", {})
            last_cut = int(str(item.get("cut", 0)))
            if last_cut > seq or (cut is not None and last_cut != known_cut):
                return Submission(result=Submitted.CUT)
            running = item if item.get("state") in (TurnState.QUEUED, TurnState.RUNNING) else None
        raise ConflictError("Too many messages at once. Please try again.", retry_after=1)

    def find(self, thread_id: str) -> Turn | None:
        """Return the running turn, or the last one; None when there never was one."""
        item = self.table.get_item(Key=turn_key(thread_id), ConsistentRead=True).get("Item")
        return Turn.model_validate(item) if item and "request_id" in item else None

    def start(self, thread_id: str, request_id: str, *, invocation: str) -> Turn | None:
        """Begin a queued turn; None when it waits for another invocation, is run by one, or has ended."""
        return self._update(
            thread_id,
            "SET #state = :running, lease_until = :until ADD epoch :one",
            "request_id = :request AND #state = :queued AND invocation = :invocation",
            {
                ":request": request_id,
                ":invocation": invocation,
                ":running": "running",
                ":queued": "queued",
                ":until": self._lease(),
                ":one": 1,
            },
        )

    def renew(
        self,
        turn: Turn,
        *,
        generation: int | None = None,
        asks: dict[str, Ask] | None = None,
        sent: "Sent | None" = None,
        **more: str | int | set[str] | None,
    ) -> Turn | None:
        """
        Renew the lease and read what others wrote meanwhile; None when the turn is no longer the caller's.

        What is given of how far the turn is is written too; *more* are further attributes of it.
        """
        known = {"generation": generation, "asks": None if asks is None else _plain(asks), **more}
        changes = {name: value for name, value in known.items() if value is not None}
        return self._held(
            turn, "SET lease_until = :until", {":until": self._lease()}, changes | (sent.attributes() if sent else {})
        )

    def hand_over(self, turn: Turn, *, first: int, sent: "Sent", ttft_ms: int | None = None) -> Turn | None:
        """Queue the turn for a further function, which goes on behind what was sent; None if it is not the caller's."""
        values = {":queued": "queued", ":until": self._lease(), ":false": False, ":invocation": new_invocation()}
        known = {"first": first, **sent.attributes(), **({} if ttft_ms is None else {"ttft_ms": ttft_ms})}
        return self._held(turn, HAND_OVER, values, known)

    def cancel(self, thread_id: str, request_id: str) -> Turn | None:
        """Call a turn off; None when it has ended, or is not this request's."""
        return self._update(
            thread_id,
            "SET cancel = :true",
            "request_id = :request AND #state <> :ended",
            {":request": request_id, ":true": True, ":ended": "ended"},
        )

    def requeue(self, thread_id: str, request_id: str, *, failed: str | None) -> Turn | None:
        """
        Queue a turn whose function died, or never began, for another one.

        *failed* is the invocation that Lambda has reported; without it, the lease must have run out. None when the
        turn has ended, when it is in better hands by now, or when too many of its functions have died.
        """
        return self._dead(
            thread_id,
            request_id,
            failed,
            update="SET #state = :next, lease_until = :until, lost = :true, invocation = :invocation "
            "ADD epoch :one, takeovers :one",
            condition="(attribute_not_exists(takeovers) OR takeovers < :most)",
            values={":next": "queued", ":true": True, ":most": TAKEOVERS, ":invocation": new_invocation()},
        )

    def give_up(self, thread_id: str, request_id: str, *, failed: str | None) -> Turn | None:
        """Take a turn of which too many functions died, to end it; None in every other case."""
        return self._dead(
            thread_id,
            request_id,
            failed,
            update="SET #state = :next, lease_until = :until ADD epoch :one",
            condition="takeovers >= :most",
            values={":next": "running", ":most": TAKEOVERS},
        )

    def take_back(self, thread_id: str, request_id: str) -> Turn | None:
        """Take a turn that Lambda takes no invocation for, to end it; None when one began all the same."""
        return self._update(
            thread_id,
            "SET #state = :running, lease_until = :until ADD epoch :one",
            "request_id = :request AND #state = :queued",
            {":request": request_id, ":running": "running", ":queued": "queued", ":until": self._lease(), ":one": 1},
        )

    def end(
        self,
        turn: Turn,
        outcome: Outcome,
        record: TurnRecord | None = None,
        *,
        cut_off: frozenset[str] = frozenset(),
    ) -> Turn | None:
        """
        End the turn and promote what stands behind it: the turn to start next, or the ended one.

        None when the turn is no longer the caller's, or its sockets or the history changed since *turn* was read: then
        the caller looks after them and tries again. What is known of how it went is kept in *record*; *cut_off* are
        the clients that are to be given the answer when they come back.
        """
        held = (
            "request_id = :request AND epoch = :epoch AND #state = :running AND sockets_version = :version "
            "AND (attribute_not_exists(cut) OR cut = :cut)"
        )
        values = {
            ":request": turn.request_id,
            ":epoch": turn.epoch,
            ":running": "running",
            ":version": turn.sockets_version,
            ":none": {},
            ":cut": turn.cut,
        }
        ended = self._update(
            turn.thread_id,
            f"SET #state = :ended, outcome = :outcome, attachments = :none{', cut_off = :cut_off' if cut_off else ''} "
            f"REMOVE cancel, lease_until, asks{'' if cut_off else ', cut_off'}",
            f"{held} AND attribute_not_exists(next_request)",
            {**values, ":ended": "ended", ":outcome": outcome, **({":cut_off": set(cut_off)} if cut_off else {})},
        )
        ended = ended or self._update(
            turn.thread_id,
            "SET #state = :queued, request_id = next_request, seq = next_seq, connection_id = next_connection, "
            "model = next_model, lease_until = :until, begun_ms = :now, attachments = :none, invocation = :invocation "
            f"REMOVE {PROGRESS}, {BEHIND}",
            f"{held} AND attribute_exists(next_request)",
            {
                **values,
                ":queued": "queued",
                ":until": self._lease(),
                ":now": self._milliseconds(),
                ":invocation": new_invocation(),
            },
        )
        if ended is not None:
            self._record(turn, outcome, record, ended)
        return ended

    def outcome(self, thread_id: str, request_id: str) -> tuple[int, str] | None:
        """
        Return message number and outcome of a request that has ended, or None.

        Of one that ended in this moment the outcome may not be written down yet.
        """
        item = self.table.get_item(Key=request_key(thread_id, request_id), ConsistentRead=True).get("Item")
        return (int(str(item["seq"])), str(item.get("outcome", "completed"))) if item else None

    def unended(self) -> list[tuple[str, str]]:
        """Return thread and request id of every turn whose lease has run out."""
        expired = []
        for shard in range(SHARDS):
            for item in pages(self.table, partition(f"RUNNING#{shard}")):
                turn = self.find(str(item["sk"]))
                if turn is None or turn.state == TurnState.ENDED:
                    continue
                if turn.lease_until <= self.now():
                    expired.append((turn.thread_id, turn.request_id))
        return expired

    def unlist(self, thread_id: str, request_id: str) -> None:
        """Take a turn that has ended from the list of those that have not."""
        # A turn claimed since then has put its own request id there: that one stays.
        with suppress(self.table.meta.client.exceptions.ConditionalCheckFailedException):
            self.table.delete_item(
                Key=running_key(thread_id),
                ConditionExpression="request_id = :request",
                ExpressionAttributeValues={":request": request_id},
            )

    def _dead(
        self,
        thread_id: str,
        request_id: str,
        failed: str | None,
        *,
        update: str,
        condition: str,
        values: dict[str, Any],
    ) -> Turn | None:
        """Write to a turn that nobody runs any more; whoever ran it is refused from now on."""
        dead = "lease_until <= :now" if failed is None else "invocation = :failed"
        seen = {":now": int(self.now())} if failed is None else {":failed": failed}
        return self._update(
            thread_id,
            update,
            f"request_id = :request AND #state <> :ended AND {dead} AND {condition}",
            {":request": request_id, ":ended": "ended", ":until": self._lease(), ":one": 1, **seen, **values},
        )

    def _lease(self) -> int:
        return lease_until(self.now())

    def _milliseconds(self) -> int:
        return int(self.now() * 1000)

    def _record(self, turn: Turn, outcome: Outcome, record: TurnRecord | None, successor: Turn) -> None:
        """Write down how the request ended, or nothing of it in a thread that was cleared; keep the list of turns."""
        key = request_key(turn.thread_id, turn.request_id)
        if turn.cleared:
            self.table.delete_item(Key=key)
        else:
            known = {
                "outcome": outcome,
                "ended_at": int(self.now()),
                "duration_ms": self._milliseconds() - turn.begun_ms,
                **(record.attributes() if record is not None else {}),
            }
            write = partial(
                self.table.update_item,
                Key=key,
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in known),
                ExpressionAttributeNames={f"#{name}": name for name in known},
                ExpressionAttributeValues={f":{name}": value for name, value in known.items()},
            )
            # The request may be coming once more in this moment.
            outlasting(self.table, write)
        if successor.state == TurnState.QUEUED:
            self.table.put_item(Item={**running_key(turn.thread_id), "request_id": successor.request_id})
            return
        self.unlist(turn.thread_id, turn.request_id)

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
        item = update_if(
            self.table, turn_key(thread_id), update=update, condition=condition, values=values, names=NAMES
        )
        return None if item is None else Turn.model_validate(item)


def _plain(asks: dict[str, Ask]) -> dict[str, dict[str, Any]]:
    return {call: ask.model_dump() for call, ask in asks.items()}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
