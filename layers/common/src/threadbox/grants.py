"""
A thread's grant: whose subscription its sandbox may use. The tokens in it are sealed (``threadbox.vault``).

::

    (none) ──connect──▶ held ──claim──▶ being refreshed ──refreshed──▶ held, the next version
                         ▲ │                 │  │
                         │ └◀──give_back─────┘  └──the provider ended it, or nobody wrote an outcome──▶ reconnect
                         └────────────────────────connect────────────────────────────────────────────────┘

A refresh token is good for one use. So one conditional write decides who redeems it, and a claim that ended without an
outcome is never followed by another one of the same version: only its own holder may still write what it got.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from threadbox.clock import unix_time
from threadbox.updates import update_if
from threadbox.vault import Binding, Sealed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

CODEX = "openai"
"""The provider that users sign in to, as OpenCode calls it."""
LONGEST_MARGIN = 300
NO_CLAIM = "refresh_owner, refresh_until, retry_at, failures, reconnect_required, ended"
"""What says how a refresh stands, or that there can be none."""


class Grant(BaseModel):
    """
    The ``GRANT#`` item. Times are epoch seconds.

    ``expires_at`` is when the access token ends and ``obtained_at`` when it was got. ``version`` rises with every
    change of the tokens: it is the time of the change in milliseconds, so that it rises over a disconnect too.
    ``held_version`` is what the sandbox of generation ``held_by`` was given. ``refresh_owner`` redeems the refresh
    token until ``refresh_until``; after a failure nobody tries before ``retry_at``. Where the user has to reconnect,
    the access token serves on to its end, unless the provider said that the grant has ``ended``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    thread_id: str
    account_id: str
    expires_at: int
    obtained_at: int = 0
    version: int
    sealed: dict[str, Any] | None = None
    held_by: int | None = None
    held_version: int | None = None
    refresh_owner: str | None = None
    refresh_until: int = 0
    retry_at: int = 0
    failures: int = 0
    reconnect_required: bool = False
    ended: bool = False

    @property
    def renew_at(self) -> int:
        """When another access token is due: a quarter of its life before its end, 300 s at most."""
        return self.expires_at - min(LONGEST_MARGIN, (self.expires_at - self.obtained_at) // 4)

    def binding(self, owner: str, provider: str = CODEX) -> Binding:
        """Return what the tokens belong to; the *owner* is the thread's, whatever the row says."""
        return Binding(
            thread_id=self.thread_id,
            owner=owner,
            provider=provider,
            account_id=self.account_id,
            expires_at=self.expires_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantStore:
    """The ``GRANT#`` items of one provider."""

    table: "Table"
    provider: str = CODEX
    now: Callable[[], float] = unix_time

    def find(self, thread_id: str) -> Grant | None:
        """Return the thread's grant, or None when it is not connected."""
        item = self.table.get_item(Key=self._key(thread_id), ConsistentRead=True).get("Item")
        return Grant.model_validate(item) if item else None

    def next_version(self, before: Grant | None) -> int:
        """Return the version of the tokens that follow those of *before*."""
        return max(int(self.now() * 1000), before.version + 1 if before else 1)

    def connection(self, grant: Grant, sealed: Sealed, *, before: Grant | None) -> "TransactWriteItemTypeDef":
        """Return the write that stores what a sign-in brought; refused when *before* is no longer what is stored."""
        update: UpdateTypeDef = {
            "TableName": self.table.name,
            "Key": self._key(grant.thread_id),
            "UpdateExpression": "SET account_id = :account, expires_at = :expires, obtained_at = :obtained, "
            f"version = :version, sealed = :sealed REMOVE held_by, held_version, {NO_CLAIM}",
            "ConditionExpression": "version = :before" if before else "attribute_not_exists(version)",
            "ExpressionAttributeValues": {
                ":account": grant.account_id,
                ":expires": grant.expires_at,
                ":obtained": grant.obtained_at,
                ":version": grant.version,
                ":sealed": sealed.model_dump(),
                **({":before": before.version} if before else {}),
            },
        }
        return {"Update": update}

    def claim(self, grant: Grant, *, owner: str, seconds: int) -> Grant | None:
        """Claim the one use of the refresh token for *seconds*; None when somebody else has, or tokens changed."""
        return self._update(
            grant,
            "SET refresh_owner = :owner, refresh_until = :until",
            "attribute_not_exists(refresh_owner) AND attribute_not_exists(reconnect_required)",
            {":owner": owner, ":until": int(self.now()) + seconds},
        )

    def refreshed(self, claimed: Grant, sealed: Sealed, *, obtained_at: int, expires_at: int) -> Grant | None:
        """Store what the claim brought; None when the grant was removed or connected anew meanwhile."""
        return self._update(
            claimed,
            f"SET expires_at = :expires, obtained_at = :obtained, version = :next, sealed = :sealed REMOVE {NO_CLAIM}",
            "refresh_owner = :owner",
            {
                ":owner": claimed.refresh_owner,
                ":expires": expires_at,
                ":obtained": obtained_at,
                ":next": self.next_version(claimed),
                ":sealed": sealed.model_dump(),
            },
        )

    def give_back(self, claimed: Grant, *, retry_after: int) -> Grant | None:
        """Give a claim back that redeemed nothing; for *retry_after* seconds nobody tries again."""
        return self._update(
            claimed,
            "SET retry_at = :retry, failures = :failures REMOVE refresh_owner, refresh_until",
            "refresh_owner = :owner",
            {
                ":owner": claimed.refresh_owner,
                ":retry": int(self.now()) + retry_after,
                ":failures": claimed.failures + 1,
            },
        )

    def require_reconnect(self, claimed: Grant, *, expired_only: bool) -> Grant | None:
        """
        Say that the claim came to nothing and the user has to sign in; None when that, or something better, was said.

        With *expired_only* the caller is not the claim's holder. The claim stays: its holder may still come back with
        what it got, and nobody else redeems that version. The holder says so when the provider ended the grant.
        """
        owned = "refresh_owner = :owner AND attribute_not_exists(reconnect_required)"
        values = {":owner": claimed.refresh_owner, ":yes": True}
        if not expired_only:
            return self._update(claimed, "SET reconnect_required = :yes, ended = :yes", owned, values)
        late = {":now": int(self.now())}
        return self._update(
            claimed, "SET reconnect_required = :yes", f"{owned} AND refresh_until <= :now", {**values, **late}
        )

    def note_held(self, thread_id: str, *, version: int, generation: int) -> Grant | None:
        """Note that the sandbox of *generation* has the access token of *version*; None when that is not the latest."""
        return self._write(
            thread_id,
            "SET held_by = :generation, held_version = :version",
            "version = :version",
            {":version": version, ":generation": generation},
        )

    def reseal(self, grant: Grant, sealed: Sealed) -> Grant | None:
        """Replace how the tokens are sealed, not the tokens; None when these changed meanwhile."""
        return self._update(grant, "SET sealed = :sealed", "attribute_exists(sealed)", {":sealed": sealed.model_dump()})

    def delete(self, grant: Grant) -> bool:
        """Remove the grant; False when its tokens changed since it was read, or it is gone."""
        try:
            self.table.delete_item(
                Key=self._key(grant.thread_id),
                ConditionExpression="version = :version",
                ExpressionAttributeValues={":version": grant.version},
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def page(self, after: str | None, *, limit: int) -> tuple[list[Grant], str | None]:
        """Return the grants among the next *limit* items of the table, and behind which to go on; None at the end."""
        begin: dict[str, Any] = {"ExclusiveStartKey": json.loads(after)} if after else {}
        answer = self.table.scan(
            Limit=limit,
            FilterExpression="sk = :mine",
            ExpressionAttributeValues={":mine": f"GRANT#{self.provider}"},
            ConsistentRead=True,
            **begin,
        )
        last = answer.get("LastEvaluatedKey")
        return [Grant.model_validate(item) for item in answer["Items"]], json.dumps(last) if last else None

    def _update(self, grant: Grant, update: str, condition: str, values: dict[str, Any]) -> Grant | None:
        """Write to the version of the tokens that *grant* has."""
        return self._write(
            grant.thread_id, update, f"version = :version AND {condition}", {":version": grant.version, **values}
        )

    def _write(self, thread_id: str, update: str, condition: str, values: dict[str, Any]) -> Grant | None:
        item = update_if(self.table, self._key(thread_id), update=update, condition=condition, values=values)
        return None if item is None else Grant.model_validate(item)

    def _key(self, thread_id: str) -> dict[str, str]:
        return {"thread_id": thread_id, "sk": f"GRANT#{self.provider}"}
