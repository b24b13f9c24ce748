"""
A sandbox's row, and every transition it can make (:mod:`sandbox_ctl.lifecycle`), each one conditional write.

The transitions into and out of life are written together with what counts the sandbox (:mod:`sandbox_ctl.census`), so
that neither the owner's quota nor the sweeper's list can be wrong about it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sandbox_ctl.census import Census
from sandbox_ctl.lifecycle import ENDED, TRANSITIONS, Detail, State
from threadbox.clock import unix_time
from threadbox.policies import Policy
from threadbox.threads import SORT_KEY as META
from threadbox.threads import thread_key
from threadbox.updates import transact, update_if

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

__all__ = ["LEASE", "Detail", "Launch", "Sandbox", "SandboxStore", "State"]

SORT_KEY = "SANDBOX"
LEASE = 20
# Which write of a transaction was refused, if it was not that of the owner's quota.
ROW = 0
ROOM_TRIES = 5
HELD = "lease_owner = :owner"


class Launch(BaseModel):
    """
    What RunTask is called with. It is stored first, so that repeating the call repeats it to the byte.

    ``cpu`` and ``memory`` (as Fargate takes them) are those of the size of that name; None: the task definition's own.
    """

    model_config = ConfigDict(frozen=True)

    task_definition: str
    environment: dict[str, str]
    key_id: str
    size: str | None = None
    cpu: str | None = None
    memory: str | None = None


class Sandbox(BaseModel):
    """
    The row. Times are epoch seconds, but ``phase_ms``; ``phases`` is how many milliseconds each detail has taken.

    ``policy_version`` is that of the tool policy a running one was told last, ``memory_at`` when it was last given a
    form to save its memory by, ``user_id`` whose quota counts it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    thread_id: str
    user_id: str | None = None
    state: State
    detail: Detail
    generation: int
    launch: Launch
    retries: int = 0
    launch_tries: int = 0
    lease_until: int = 0
    task_arn: str | None = None
    address: str | None = None
    session_id: str | None = None
    opencode_version: str | None = None
    policy_version: int = 0
    memory_at: int = 0
    reason: str | None = None
    requested_at: int
    phase_at: int
    phase_ms: int = 0
    phases: dict[str, int] = Field(default_factory=dict)
    started_at: int | None = None

    @field_validator("launch", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    def phases_until(self, now_ms: int) -> dict[str, int]:
        """Return what each detail has taken, the present one until *now_ms*."""
        spent = max(now_ms - self.phase_ms, 0) if self.phase_ms else 0
        return {**self.phases, self.detail: self.phases.get(self.detail, 0) + spent}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStore:
    """The ``SANDBOX`` items. ``per_user`` is how many of one user's may be there at once."""

    table: "Table"
    per_user: int
    now: Callable[[], float] = unix_time

    def find(self, thread_id: str) -> Sandbox | None:
        """Return the thread's sandbox, or None when it never had one."""
        item = self.table.get_item(Key=_key(thread_id), ConsistentRead=True).get("Item")
        return Sandbox.model_validate(item) if item else None

    def find_last_turn(self, thread_id: str) -> int | None:
        """Return when the thread's last turn began, in epoch seconds, or None when it never had one."""
        key = {"thread_id": thread_id, "sk": "TURN"}
        item = self.table.get_item(Key=key, ProjectionExpression="begun_ms").get("Item", {})
        return int(str(item["begun_ms"])) // 1000 if "begun_ms" in item else None

    def find_with_policy(self, thread_id: str) -> tuple[Sandbox | None, Policy]:
        """Return the thread's sandbox, or None when it never had one, and its tool policy: one call, as turns wait."""
        name, keys = self.table.name, [_key(thread_id), thread_key(thread_id)]
        answer = self.table.meta.client.batch_get_item(RequestItems={name: {"Keys": keys, "ConsistentRead": True}})
        items: dict[str, Any] = {str(item["sk"]): item for item in answer["Responses"].get(name, [])}
        for key in answer["UnprocessedKeys"].get(name, {"Keys": []})["Keys"]:
            items[str(key["sk"])] = self.table.get_item(Key=key, ConsistentRead=True).get("Item")
        sandbox = items.get(SORT_KEY)
        return Sandbox.model_validate(sandbox) if sandbox else None, Policy.of(items.get(META))

    def claim(self, thread_id: str, *, launch: Launch, owner: str, user_id: str | None = None) -> Sandbox | None:
        """
        Begin the next generation of a sandbox that is not there; None when somebody else did.

        Raises:
            RateLimitedError: *user_id* has as many as may be.
        """
        move, now = TRANSITIONS["claim"], self.now()
        row = self._write(
            thread_id,
            "SET #state = :state, detail = :requested, generation = if_not_exists(generation, :zero) + :one, "
            "launch = :launch, retries = :zero, launch_tries = :zero, lease_owner = :owner, lease_until = :until, "
            "requested_at = :now, phase_at = :now, phase_ms = :now_ms, phases = :none, user_id = :user "
            "REMOVE task_arn, address, session_id, opencode_version, reason, started_at",
            move.condition(),
            {
                **move.values(),
                ":requested": Detail.REQUESTED,
                ":launch": launch.model_dump_json(),
                ":owner": owner,
                ":until": int(now) + LEASE,
                ":now": int(now),
                ":now_ms": int(now * 1000),
                ":none": {},
                ":zero": 0,
                ":one": 1,
                ":user": user_id,
            },
        )
        census = Census(table=self.table, per_user=self.per_user)
        for _ in range(ROOM_TRIES):
            refused = transact(self.table, [row, *census.entry(thread_id, user_id)])
            if not refused:
                item = self.table.get_item(Key=_key(thread_id), ConsistentRead=True).get("Item")
                return Sandbox.model_validate(item) if item and item.get("lease_owner") == owner else None
            if ROW in refused or user_id is None:
                return None
            census.make_room(user_id, ended=self._absence)
        return None

    def take(self, sandbox: Sandbox, *, owner: str) -> Sandbox | None:
        """Take the lease of a start that nobody works on; None when somebody does."""
        now = int(self.now())
        return self._move(
            "take",
            sandbox,
            "SET lease_owner = :owner, lease_until = :until",
            {":owner": owner, ":until": now + LEASE, ":now": now},
            guard="lease_until <= :now",
        )

    def progress(self, sandbox: Sandbox, *, owner: str, lease: int, changes: dict[str, str | int]) -> Sandbox | None:
        """
        Write *changes* as the lease's holder and keep the lease for *lease* seconds; 0 gives it back.

        None when the lease was lost, or the sandbox is no longer starting.
        """
        known: dict[str, Any] = changes
        if "detail" in changes:
            known = {**changes, **self._phase(sandbox)}
        names = {f"#{name}": name for name in known}
        return self._move(
            "progress",
            sandbox,
            "SET lease_until = :until" + "".join(f", #{name} = :{name}" for name in known),
            {
                ":until": int(self.now()) + lease,
                ":owner": owner,
                **{f":{name}": value for name, value in known.items()},
            },
            guard=HELD,
            names=names,
        )

    def ready(
        self, sandbox: Sandbox, *, owner: str, session_id: str, opencode_version: str, policy_version: int
    ) -> Sandbox | None:
        """Say that the sandbox answers; None when it is no longer the holder's to say."""
        phase = self._phase(sandbox)
        return self._move(
            "ready",
            sandbox,
            "SET #state = :state, detail = :detail, session_id = :session, opencode_version = :version, "
            "policy_version = :policy, started_at = :phase_at, phase_at = :phase_at, phase_ms = :phase_ms, "
            "phases = :phases REMOVE lease_owner, lease_until",
            {
                ":detail": Detail.READY,
                ":session": session_id,
                ":version": opencode_version,
                ":policy": policy_version,
                ":owner": owner,
                **{f":{name}": value for name, value in phase.items()},
            },
            guard=HELD,
        )

    def told(self, sandbox: Sandbox, *, version: int) -> Sandbox | None:
        """Note that the running sandbox was told the tool policy of *version*; None when a newer one was noted."""
        return self._move(
            "told",
            sandbox,
            "SET policy_version = :version",
            {":version": version},
            guard="(attribute_not_exists(policy_version) OR policy_version < :version)",
        )

    def remembered(self, sandbox: Sandbox, *, at: int) -> Sandbox | None:
        """Note when the running sandbox was last given a form to save by; None when it does not run any more."""
        return self._move("remembered", sandbox, "SET memory_at = :at", {":at": at})

    def fail(self, sandbox: Sandbox, *, owner: str, reason: str) -> Sandbox | None:
        """Give the start up; None when it is no longer the holder's to give up."""
        return self._end(
            "fail",
            sandbox,
            "SET #state = :state, reason = :reason, phase_at = :now REMOVE lease_owner, lease_until, address",
            {":reason": reason, ":owner": owner},
            guard=HELD,
        )

    def next_generation(self, sandbox: Sandbox, *, owner: str, launch: Launch) -> Sandbox | None:
        """Try once more with a new task, now that the old one is known to be over."""
        phase = self._phase(sandbox)
        return self._move(
            "next_generation",
            sandbox,
            "SET generation = generation + :one, retries = retries + :one, detail = :requested, launch = :launch, "
            "launch_tries = :zero, phase_at = :phase_at, phase_ms = :phase_ms, phases = :phases, "
            "lease_until = :until REMOVE task_arn, address",
            {
                ":one": 1,
                ":zero": 0,
                ":requested": Detail.REQUESTED,
                ":launch": launch.model_dump_json(),
                ":until": int(self.now()) + LEASE,
                ":owner": owner,
                **{f":{name}": value for name, value in phase.items()},
            },
            guard=HELD,
        )

    def stopping(self, sandbox: Sandbox) -> Sandbox | None:
        """Mark that the sandbox is being stopped; None when it has no task yet, or none any more."""
        return self._move(
            "stopping",
            sandbox,
            "SET #state = :state, phase_at = :now REMOVE lease_owner, lease_until",
            {":now": int(self.now())},
            guard="attribute_exists(task_arn)",
        )

    def stopped(self, sandbox: Sandbox, *, reason: str) -> Sandbox | None:
        """Record that the task of this generation is over; None when that is known, or another one is there."""
        return self._end(
            "stopped",
            sandbox,
            "SET #state = :state, reason = :reason, phase_at = :now REMOVE address",
            {":reason": reason},
        )

    def forget(self, thread_id: str, user_id: str | None) -> bool:
        """Count a sandbox no longer that has ended, or whose thread was deleted; False when it is there."""
        census = Census(table=self.table, per_user=self.per_user)
        return not transact(self.table, [self._absence(thread_id), *census.exit(thread_id, user_id)])

    def listed(self) -> list[tuple[str, str | None]]:
        """Return thread and user of every sandbox that is not known to have ended."""
        return Census(table=self.table, per_user=self.per_user).members()

    def counted(self, user_id: str) -> list[Sandbox]:
        """Return the user's sandboxes that are not known to have ended."""
        threads = Census(table=self.table, per_user=self.per_user).threads_of(user_id)
        return [sandbox for thread in threads if (sandbox := self.find(thread)) is not None]

    def _phase(self, sandbox: Sandbox) -> dict[str, Any]:
        now = self.now()
        return {"phase_at": int(now), "phase_ms": int(now * 1000), "phases": sandbox.phases_until(int(now * 1000))}

    def _absence(self, thread_id: str) -> Any:
        """Return the condition, as part of a transaction, that the thread has no sandbox that lives."""
        values = {f":{state}": state for state in sorted(ENDED)}
        check = {
            "TableName": self.table.name,
            "Key": _key(thread_id),
            "ConditionExpression": f"attribute_not_exists(#state) OR #state IN ({', '.join(values)})",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": values,
        }
        return {"ConditionCheck": check}

    def _move(
        self,
        name: str,
        sandbox: Sandbox,
        update: str,
        values: dict[str, Any],
        *,
        guard: str = "",
        names: dict[str, str] | None = None,
    ) -> Sandbox | None:
        """Write the transition *name* of this generation's row; None when it may not be made, or not with *guard*."""
        condition, values = _bounds(name, sandbox, update, values, guard)
        key, named = _key(sandbox.thread_id), {"#state": "state", **(names or {})}
        item = update_if(self.table, key, update=update, condition=condition, values=values, names=named)
        return None if item is None else Sandbox.model_validate(item)

    def _end(
        self, name: str, sandbox: Sandbox, update: str, values: dict[str, Any], *, guard: str = ""
    ) -> Sandbox | None:
        """As :meth:`_move`, and count the sandbox no longer."""
        condition, values = _bounds(name, sandbox, update, {":now": int(self.now()), **values}, guard)
        census = Census(table=self.table, per_user=self.per_user)
        row = self._write(sandbox.thread_id, update, condition, values)
        refused = transact(self.table, [row, *census.exit(sandbox.thread_id, sandbox.user_id)])
        return None if refused else self.find(sandbox.thread_id)

    def _write(self, thread_id: str, update: str, condition: str, values: dict[str, Any]) -> Any:
        write = {
            "TableName": self.table.name,
            "Key": _key(thread_id),
            "UpdateExpression": update,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": values,
        }
        return {"Update": write}


def _bounds(name: str, sandbox: Sandbox, update: str, values: dict[str, Any], guard: str) -> tuple[str, dict[str, Any]]:
    """Return condition and values of a transition of the row that *sandbox* was read from."""
    move = TRANSITIONS[name]
    condition = f"{move.condition()} AND generation = :generation" + (f" AND {guard}" if guard else "")
    values = {**move.values(), ":generation": sandbox.generation, **values}
    return condition, {key: value for key, value in values.items() if key in f"{update} {condition}"}


def _key(thread_id: str) -> dict[str, str]:
    return {"thread_id": thread_id, "sk": SORT_KEY}
