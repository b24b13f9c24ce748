"""
The attempts to sign in, one row per thread; each transition is one conditional write.

::

    (none) ────begin────▶ pending ──connect──▶ connected
    any end ───begin────▶    │ │ └───────────▶ mismatch       another account than before
                             │ └────end──────▶ denied, timed_out, cancelled, abandoned, failed
                             └─begin (another method, or another sandbox): the new attempt is pending,
                               the old one superseded

Whoever reads a row that is pending past its deadline takes it as timed out, and nothing can end it otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from oauth_proxy.openai import state_hash
from oauth_proxy.signin import PLACES, Signin, Status
from threadbox.clock import unix_time
from threadbox.errors import ConflictError, ForbiddenError, RateLimitedError
from threadbox.grants import Grant, GrantStore
from threadbox.updates import update_if
from threadbox.vault import Sealed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

SORT_KEY = "SIGNIN"
HOUR = 3600
TRIES = 12
# A place is kept this long after the wait it was taken for, so that the next hop finds it.
PLACE_GRACE = 5
LIVE = "attempt_id = :attempt AND #status = :pending AND expires_at > :now"
# Words that DynamoDB keeps for itself.
NAMES = {"#status": "status", "#url": "url", "#replace": "replace"}
# Which write of the connecting transaction was refused; or none in particular, because another one was under way.
SIGNIN, CONFLICT = 1, -1


@dataclass(frozen=True, slots=True, kw_only=True)
class SigninStore:
    """The ``SIGNIN`` items."""

    table: "Table"
    grants: GrantStore
    per_hour: int
    now: Callable[[], float] = unix_time

    def find(self, thread_id: str) -> Signin | None:
        """Return the thread's live or last attempt, or None when there never was one."""
        item = self.table.get_item(Key=_key(thread_id), ConsistentRead=True).get("Item")
        return Signin.model_validate(item) if item else None

    def begin(self, wanted: Signin) -> Signin:
        """
        Begin *wanted*, or return the live attempt of the same method in the same sandbox.

        Raises:
            ForbiddenError: the live one is another user's.
            RateLimitedError: the thread had its attempts for this hour.
            ConflictError: the thread's attempts changed too often meanwhile.
        """
        for _ in range(TRIES):
            last = self.find(wanted.thread_id)
            if last is not None and last.live(self.now()) and _same(last, wanted):
                if last.user_id != wanted.user_id:
                    raise ForbiddenError("This sign-in belongs to somebody else.")
                return self._joined(last, wanted)
            begun = self._begin(wanted, last)
            if begun is not None:
                return begun
        raise ConflictError("Too much is going on here just now. Please try again.", retry_after=1)

    def started(self, signin: Signin, *, url: str, instructions: str, state: str | None) -> Signin | None:
        """Note what OpenCode said; None when that was noted before, or the attempt has ended."""
        hashed = {":state": state_hash(state)} if state else {}
        return self._update(
            signin.thread_id,
            "SET #url = :url, instructions = :instructions" + (", state_hash = :state" if hashed else ""),
            f"{LIVE} AND attribute_not_exists(#url)",
            {**self._live(signin.attempt_id), ":url": url, ":instructions": instructions, **hashed},
        )

    def spend_state(self, signin: Signin, state: str) -> bool:
        """Match the state that the browser brought back, once; False when it is not this attempt's, or was spent."""
        spent = self._update(
            signin.thread_id,
            "REMOVE state_hash",
            f"{LIVE} AND state_hash = :state",
            {**self._live(signin.attempt_id), ":state": state_hash(state)},
        )
        return spent is not None

    def end(self, thread_id: str, attempt_id: str, status: Status) -> Signin | None:
        """End the attempt; None when it has ended, or is not the thread's any more."""
        late = status == Status.TIMED_OUT
        return self._update(
            thread_id,
            "SET #status = :status, ended_at = :now REMOVE state_hash",
            LIVE.removesuffix(" AND expires_at > :now") if late else LIVE,
            {**self._live(attempt_id), ":status": status},
        )

    def connect(self, signin: Signin, grant: Grant, sealed: Sealed, *, before: Grant | None) -> Signin | None:
        """
        Store the grant and end the attempt, both or neither; None when the attempt had ended otherwise.

        Raises:
            ConflictError: *before* is no longer the grant that is stored.
        """
        refused = self._transact([self.grants.connection(grant, sealed, before=before), self._connected(signin, grant)])
        if SIGNIN in refused:
            return None
        if refused:
            raise ConflictError("The thread's connection changed meanwhile.", retry_after=1)
        return self.find(signin.thread_id)

    def settle(self, signin: Signin) -> None:
        """Note that the sandbox keeps what it got."""
        connected = {":attempt": signin.attempt_id, ":connected": Status.CONNECTED, ":yes": True}
        condition = "attempt_id = :attempt AND #status = :connected"
        self._update(signin.thread_id, "SET settled = :yes", condition, connected)

    def watched(self, signin: Signin) -> Signin | None:
        """Note that somebody sees how it goes; None when it has ended."""
        return self._update(signin.thread_id, "SET watched_at = :now", LIVE, self._live(signin.attempt_id))

    def take_place(self, signin: Signin, *, watcher: str, seconds: float) -> str | None:
        """
        Take one of the attempt's places for waiting calls, or keep the one that *watcher* (``place-id``) has.

        Returns the watcher with its place; None when all places are taken, or the attempt has ended.
        """
        had, _, name = watcher.rpartition("-")
        places = sorted(range(PLACES), key=lambda place: str(place) != had)
        for place in places:
            mine = f"{place}-{name}"
            values = {":mine": mine, ":until": ceil(self.now() + seconds) + PLACE_GRACE}
            taken = self._update(
                signin.thread_id,
                f"SET watch_{place} = :until, watcher_{place} = :mine, watched_at = :now",
                f"{LIVE} AND (attribute_not_exists(watch_{place}) OR watch_{place} <= :now OR watcher_{place} = :mine)",
                {**self._live(signin.attempt_id), **values},
            )
            if taken is not None:
                return mine
        return None

    def leave_place(self, signin: Signin, watcher: str) -> None:
        """Give a place back."""
        place = watcher.partition("-")[0]
        self._update(
            signin.thread_id,
            f"REMOVE watch_{place}, watcher_{place}",
            f"attempt_id = :attempt AND watcher_{place} = :mine",
            {":attempt": signin.attempt_id, ":mine": watcher},
        )

    def _begin(self, wanted: Signin, last: Signin | None) -> Signin | None:
        """Write *wanted* over *last*; None when somebody else did, or ended it meanwhile."""
        now = int(self.now())
        begun = [at for at in last.begun if at > now - HOUR] if last else []
        if len(begun) >= self.per_hour:
            raise RateLimitedError("Too many sign-ins this hour.", retry_after=begun[0] + HOUR - now)
        signin = wanted.model_copy(update={"begun": [*begun, now]})
        condition = "attribute_not_exists(attempt_id)"
        optional: dict[str, Any] = {}
        if last is not None:
            left = last.status_at(now)
            before = Status.SUPERSEDED if left == Status.PENDING else left
            signin = signin.model_copy(update={"previous_id": last.attempt_id, "previous_status": before})
            condition = "attempt_id = :last AND #status = :seen"
            optional = {
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {":last": last.attempt_id, ":seen": last.status},
            }
        item = {**_key(signin.thread_id), **signin.model_dump(mode="json", exclude_none=True, exclude={"thread_id"})}
        try:
            self.table.put_item(Item=item, ConditionExpression=condition, **optional)
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            return None
        return signin

    def _joined(self, last: Signin, wanted: Signin) -> Signin:
        """Let the user who said later that another account is meant have said so from the start."""
        if not wanted.replace or last.replace:
            return last
        values = {**self._live(last.attempt_id), ":yes": True}
        return self._update(last.thread_id, "SET #replace = :yes", LIVE, values) or last

    def _connected(self, signin: Signin, grant: Grant) -> "TransactWriteItemTypeDef":
        return {
            "Update": {
                "TableName": self.table.name,
                "Key": _key(signin.thread_id),
                "UpdateExpression": "SET #status = :connected, ended_at = :now, account_id = :account, "
                "grant_version = :version REMOVE state_hash",
                "ConditionExpression": LIVE,
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {
                    **self._live(signin.attempt_id),
                    ":connected": Status.CONNECTED,
                    ":account": grant.account_id,
                    ":version": grant.version,
                },
            }
        }

    def _live(self, attempt_id: str) -> dict[str, Any]:
        return {":attempt": attempt_id, ":pending": Status.PENDING, ":now": int(self.now())}

    def _transact(self, items: "list[TransactWriteItemTypeDef]") -> set[int]:
        """Write all or nothing; return which writes were refused, none of them when all was written."""
        client = self.table.meta.client
        try:
            client.transact_write_items(TransactItems=items)
        except client.exceptions.TransactionCanceledException as exc:
            codes = [reason.get("Code") for reason in exc.response["CancellationReasons"]]
            return {place for place, code in enumerate(codes) if code == "ConditionalCheckFailed"} or {CONFLICT}
        return set()

    def _update(self, thread_id: str, update: str, condition: str, values: dict[str, Any]) -> Signin | None:
        item = update_if(self.table, _key(thread_id), update=update, condition=condition, values=values, names=NAMES)
        return None if item is None else Signin.model_validate(item)


def _same(last: Signin, wanted: Signin) -> bool:
    return (last.method, last.generation) == (wanted.method, wanted.generation)


def _key(thread_id: str) -> dict[str, str]:
    return {"thread_id": thread_id, "sk": SORT_KEY}
