"""
A sandbox's row, and every transition it can make, each one conditional write.

::

    (none) ──claim──▶ starting ──ready──▶ running ──stopping──▶ stopping ──stopped──▶ stopped
    stopped ─claim──▶    │ ▲                 └───────stopped (task ended)────────────▶
    failed ──claim──▶    │ └─ next_generation (once)
                         └──fail──▶ failed

    details of starting: requested ▶ pulling ▶ claiming ▶ restoring ▶ booting

While it starts, whoever works on it holds the lease; a holder that died loses it when it runs out, and the next one
repeats the same generation with the same launch, so that no second task is started.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, field_validator

from threadbox.clock import unix_time
from threadbox.policies import Policy
from threadbox.threads import SORT_KEY as META
from threadbox.threads import thread_key
from threadbox.updates import update_if

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

SORT_KEY = "SANDBOX"
LEASE = 20


class State(StrEnum):
    """What a thread's sandbox is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


class Detail(StrEnum):
    """How far a start has come."""

    REQUESTED = "requested"
    PULLING = "pulling"
    CLAIMING = "claiming"
    RESTORING = "restoring"
    BOOTING = "booting"
    READY = "ready"


class Launch(BaseModel):
    """What RunTask is called with. It is stored first, so that repeating the call repeats it to the byte."""

    model_config = ConfigDict(frozen=True)

    task_definition: str
    environment: dict[str, str]
    key_id: str


class Sandbox(BaseModel):
    """
    The row. Times are epoch seconds.

    ``policy_version`` is that of the tool policy a running one was told last, ``memory_at`` when it was last given a
    form to save its memory by.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    thread_id: str
    state: State
    detail: Detail
    generation: int
    launch: Launch
    retries: int = 0
    launch_tries: int = 0
    task_arn: str | None = None
    address: str | None = None
    session_id: str | None = None
    opencode_version: str | None = None
    policy_version: int = 0
    memory_at: int = 0
    reason: str | None = None
    requested_at: int
    phase_at: int
    started_at: int | None = None

    @field_validator("launch", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStore:
    """The ``SANDBOX`` items."""

    table: "Table"
    now: Callable[[], float] = unix_time

    def find(self, thread_id: str) -> Sandbox | None:
        """Return the thread's sandbox, or None when it never had one."""
        item = self.table.get_item(Key=_key(thread_id), ConsistentRead=True).get("Item")
        return Sandbox.model_validate(item) if item else None

    def find_with_policy(self, thread_id: str) -> tuple[Sandbox | None, Policy]:
        """Return the thread's sandbox, or None when it never had one, and its tool policy: one call, as turns wait."""
        name, keys = self.table.name, [_key(thread_id), thread_key(thread_id)]
        answer = self.table.meta.client.batch_get_item(RequestItems={name: {"Keys": keys, "ConsistentRead": True}})
        items: dict[str, Any] = {str(item["sk"]): item for item in answer["Responses"].get(name, [])}
        for key in answer["UnprocessedKeys"].get(name, {"Keys": []})["Keys"]:
            items[str(key["sk"])] = self.table.get_item(Key=key, ConsistentRead=True).get("Item")
        sandbox = items.get(SORT_KEY)
        return Sandbox.model_validate(sandbox) if sandbox else None, Policy.of(items.get(META))

    def claim(self, thread_id: str, *, launch: Launch, owner: str) -> Sandbox | None:
        """Begin the next generation of a sandbox that is not there; None when somebody else did."""
        now = int(self.now())
        return self._update(
            thread_id,
            "SET #state = :starting, detail = :requested, generation = if_not_exists(generation, :zero) + :one, "
            "launch = :launch, retries = :zero, launch_tries = :zero, lease_owner = :owner, lease_until = :until, "
            "requested_at = :now, phase_at = :now "
            "REMOVE task_arn, address, session_id, opencode_version, reason, started_at",
            "attribute_not_exists(#state) OR #state IN (:stopped, :failed)",
            {
                ":starting": State.STARTING,
                ":stopped": State.STOPPED,
                ":failed": State.FAILED,
                ":requested": Detail.REQUESTED,
                ":launch": launch.model_dump_json(),
                ":owner": owner,
                ":until": now + LEASE,
                ":now": now,
                ":zero": 0,
                ":one": 1,
            },
        )

    def take(self, sandbox: Sandbox, *, owner: str) -> Sandbox | None:
        """Take the lease of a start that nobody works on; None when somebody does."""
        now = int(self.now())
        return self._update(
            sandbox.thread_id,
            "SET lease_owner = :owner, lease_until = :until",
            "#state = :starting AND generation = :generation AND lease_until <= :now",
            {
                ":starting": State.STARTING,
                ":generation": sandbox.generation,
                ":owner": owner,
                ":until": now + LEASE,
                ":now": now,
            },
        )

    def progress(self, sandbox: Sandbox, *, owner: str, lease: int, changes: dict[str, str | int]) -> Sandbox | None:
        """
        Write *changes* as the lease's holder and keep the lease for *lease* seconds; 0 gives it back.

        None when the lease was lost, or the sandbox is no longer starting.
        """
        now = int(self.now())
        if "detail" in changes:
            changes = {**changes, "phase_at": now}
        names = {f"#{name}": name for name in changes}
        return self._update(
            sandbox.thread_id,
            "SET lease_until = :until" + "".join(f", #{name} = :{name}" for name in changes),
            "#state = :starting AND generation = :generation AND lease_owner = :owner",
            {
                ":starting": State.STARTING,
                ":generation": sandbox.generation,
                ":owner": owner,
                ":until": now + lease,
                **{f":{name}": value for name, value in changes.items()},
            },
            names,
        )

    def ready(
        self, sandbox: Sandbox, *, owner: str, session_id: str, opencode_version: str, policy_version: int
    ) -> Sandbox | None:
        """Say that the sandbox answers; None when it is no longer the holder's to say."""
        return self._end_start(
            sandbox,
            owner,
            "SET #state = :state, detail = :detail, session_id = :session, opencode_version = :version, "
            "policy_version = :policy, started_at = :now, phase_at = :now REMOVE lease_owner, lease_until",
            {
                ":state": State.RUNNING,
                ":detail": Detail.READY,
                ":session": session_id,
                ":version": opencode_version,
                ":policy": policy_version,
                ":now": int(self.now()),
            },
        )

    def told(self, sandbox: Sandbox, *, version: int) -> Sandbox | None:
        """Note that the running sandbox was told the tool policy of *version*; None when a newer one was noted."""
        return self._update(
            sandbox.thread_id,
            "SET policy_version = :version",
            "#state = :running AND generation = :generation "
            "AND (attribute_not_exists(policy_version) OR policy_version < :version)",
            {":running": State.RUNNING, ":generation": sandbox.generation, ":version": version},
        )

    def remembered(self, sandbox: Sandbox, *, at: int) -> Sandbox | None:
        """Note when the running sandbox was last given a form to save by; None when it does not run any more."""
        return self._update(
            sandbox.thread_id,
            "SET memory_at = :at",
            "#state = :running AND generation = :generation",
            {":running": State.RUNNING, ":generation": sandbox.generation, ":at": at},
        )

    def fail(self, sandbox: Sandbox, *, owner: str, reason: str) -> Sandbox | None:
        """Give the start up."""
        return self._end_start(
            sandbox,
            owner,
            "SET #state = :state, reason = :reason, phase_at = :now REMOVE lease_owner, lease_until, address",
            {":state": State.FAILED, ":reason": reason, ":now": int(self.now())},
        )

    def next_generation(self, sandbox: Sandbox, *, owner: str, launch: Launch) -> Sandbox | None:
        """Try once more with a new task, now that the old one is known to be over."""
        now = int(self.now())
        return self._end_start(
            sandbox,
            owner,
            "SET generation = generation + :one, retries = retries + :one, detail = :requested, launch = :launch, "
            "launch_tries = :zero, phase_at = :now, lease_until = :until REMOVE task_arn, address",
            {
                ":one": 1,
                ":zero": 0,
                ":requested": Detail.REQUESTED,
                ":launch": launch.model_dump_json(),
                ":now": now,
                ":until": now + LEASE,
            },
        )

    def stopping(self, sandbox: Sandbox) -> Sandbox | None:
        """Mark that the sandbox is being stopped; None when it has no task yet, or none any more."""
        return self._update(
            sandbox.thread_id,
            "SET #state = :stopping, phase_at = :now REMOVE lease_owner, lease_until",
            "#state IN (:starting, :running) AND generation = :generation AND attribute_exists(task_arn)",
            {
                ":starting": State.STARTING,
                ":running": State.RUNNING,
                ":stopping": State.STOPPING,
                ":generation": sandbox.generation,
                ":now": int(self.now()),
            },
        )

    def stopped(self, sandbox: Sandbox, *, reason: str) -> Sandbox | None:
        """Record that the task of this generation is over."""
        return self._update(
            sandbox.thread_id,
            "SET #state = :stopped, reason = :reason, phase_at = :now REMOVE address",
            "#state IN (:running, :stopping) AND generation = :generation",
            {
                ":running": State.RUNNING,
                ":stopping": State.STOPPING,
                ":stopped": State.STOPPED,
                ":generation": sandbox.generation,
                ":reason": reason,
                ":now": int(self.now()),
            },
        )

    def _end_start(self, sandbox: Sandbox, owner: str, update: str, values: dict[str, Any]) -> Sandbox | None:
        condition = "#state = :was AND generation = :generation AND lease_owner = :owner"
        held = {":was": State.STARTING, ":generation": sandbox.generation, ":owner": owner}
        return self._update(sandbox.thread_id, update, condition, {**values, **held})

    def _update(
        self,
        thread_id: str,
        update: str,
        condition: str,
        values: dict[str, Any],
        names: dict[str, str] | None = None,
    ) -> Sandbox | None:
        named = {"#state": "state", **(names or {})}
        item = update_if(self.table, _key(thread_id), update=update, condition=condition, values=values, names=named)
        return None if item is None else Sandbox.model_validate(item)


def _key(thread_id: str) -> dict[str, str]:
    return {"thread_id": thread_id, "sk": SORT_KEY}
