"""
The states of a sandbox, and every transition there is between them.

::

    (none) ──claim──▶ starting ──ready──▶ running ──stopping──▶ stopping ──stopped──▶ stopped
    stopped ─claim──▶  │ ▲  │ └──────────stopping───────────────▶  ▲
    failed ──claim──▶  │ └──┘ take, progress                       │
                       │   next_generation (once)                  │
                       └─fail─▶ failed        running ──stopped (its task ended)──▶ stopped

    details of starting: requested ▶ pulling ▶ claiming ▶ restoring ▶ booting; of running: ready

Each transition is one conditional write of :class:`sandbox_ctl.sandboxes.SandboxStore`, under the transition's name: it
is refused unless the row is in one of the sources. While a sandbox starts, whoever works on it holds the lease; a
holder that died loses it when it runs out, and the next one repeats the same generation with the same launch, so that
no second task is started. A generation rises only from a state in which the task before is known to be over.

A row counts against its owner's quota, and is listed for the sweeper, from its claim until it has ended.
"""

from dataclasses import dataclass
from enum import StrEnum


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


ENDED = frozenset((State.STOPPED, State.FAILED))
"""There is no task, and the next claim is free to begin another generation."""
STARTED = frozenset((State.RUNNING, State.STOPPING))
"""There is a task, which may have ended unnoticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """From one of *sources* to *target*; ``absent``: also when there is no row yet."""

    sources: frozenset[State]
    target: State
    absent: bool = False

    def condition(self) -> str:
        """Return the condition under which it is written."""
        known = f"#state IN ({', '.join(f':from_{state}' for state in sorted(self.sources))})"
        return f"(attribute_not_exists(#state) OR {known})" if self.absent else known

    def values(self) -> dict[str, str]:
        """Return the values of :meth:`condition`, and ``:state``, the target."""
        return {":state": self.target, **{f":from_{state}": state for state in sorted(self.sources)}}


def _from(*sources: State, to: State) -> Transition:
    return Transition(sources=frozenset(sources), target=to)


TRANSITIONS = {
    "claim": Transition(sources=ENDED, target=State.STARTING, absent=True),
    "take": _from(State.STARTING, to=State.STARTING),
    "progress": _from(State.STARTING, to=State.STARTING),
    "next_generation": _from(State.STARTING, to=State.STARTING),
    "ready": _from(State.STARTING, to=State.RUNNING),
    "fail": _from(State.STARTING, to=State.FAILED),
    "told": _from(State.RUNNING, to=State.RUNNING),
    "remembered": _from(State.RUNNING, to=State.RUNNING),
    "stopping": _from(State.STARTING, State.RUNNING, to=State.STOPPING),
    "stopped": _from(State.RUNNING, State.STOPPING, to=State.STOPPED),
}
"""By the name of the store's method that writes it."""
