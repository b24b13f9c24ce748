"""
The sweeper: every few minutes it holds what ECS runs against what the table says, and ends the difference.

It looks at every sandbox that is counted (:mod:`sandbox_ctl.census`) and at every task. Each thing it does is what a
caller or an event would have had done; it may die anywhere, or run twice at once.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import sample

from sandbox_ctl.launcher import Launcher, Task
from sandbox_ctl.lifecycle import ENDED, State
from sandbox_ctl.sandboxes import LEASE, Sandbox
from sandbox_ctl.service import SandboxService
from threadbox.clock import unix_time
from threadbox.errors import AppError
from threadbox.measures import emit
from threadbox.telemetry import logger
from threadbox.threads import ThreadStore

SCHEDULED = "Scheduled Event"
"""The ``detail-type`` that EventBridge's schedule comes with."""
SWEEP_SECONDS = 20
"""A run ends after so long, within its function's time; the next one begins elsewhere."""
YOUNG_SECONDS = 60
"""A task may be so old before anybody must have written its ARN down: whoever started it may have died, and been
followed by another when the lease had run out."""
OVERDUE_SECONDS = 5 * 3600
"""So long after its life is over sandboxd has ended itself, if it still can."""
OURS = re.compile(r"[0-9a-f]{32}")
"""What :func:`threadbox.identifiers.thread_hash` makes; a task that anything else started is none of ours."""

assert YOUNG_SECONDS > LEASE  # noqa: S101 - else it would end what is only just being started


def shuffled(threads: list[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Return them in an order of its own, so that no thread is always among those for which there was no time."""
    return sample(threads, len(threads))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """
    Sweeps.

    Each of *visits* is called for each sandbox that runs; what one of them raises is logged, and keeps no other from
    its own.
    """

    service: SandboxService
    launcher: Launcher
    threads: ThreadStore
    visits: Sequence[Callable[[Sandbox], object]] = ()
    order: Callable[[list[tuple[str, str | None]]], list[tuple[str, str | None]]] = field(default=shuffled)
    now: Callable[[], float] = unix_time

    def sweep(self) -> dict[str, int]:
        """
        Look at all there is once; log and return how often what was done.

        Raises:
            SandboxUnavailableError: ECS does not say what runs.
        """
        until = self.now() + SWEEP_SECONDS
        tasks = {task.arn: task for task in self.launcher.alive()}
        members = self.order(self.service.store.listed())
        counts = Counter({"tasks": len(tasks), "sandboxes": len(members)})
        for thread_id, user_id in members:
            if self.now() > until:
                break
            counts["seen"] += 1
            try:
                counts.update(self._see_to(thread_id, user_id, tasks))
            except AppError as error:
                counts["errors"] += 1
                logger.warning("not swept", thread_id=thread_id, code=error.code)
            except Exception:  # noqa: BLE001 - a row that nobody foresaw must not keep all others from being swept
                counts["errors"] += 1
                logger.exception("not swept", thread_id=thread_id)
        for task in tasks.values():
            if self.now() > until:
                break
            try:
                counts["orphans"] += self._end_orphan(task)
            except AppError as error:
                counts["errors"] += 1
                logger.warning("task not stopped", task_arn=task.arn, code=error.code)
        logger.info("swept", counts=dict(counts))
        emit({"Sandboxes": counts["sandboxes"], "Orphans": counts["orphans"], "SweepErrors": counts["errors"]})
        return dict(counts)

    def _see_to(self, thread_id: str, user_id: str | None, tasks: dict[str, Task]) -> list[str]:
        """Do what a sandbox that is counted needs, and name it."""
        store = self.service.store
        sandbox = store.find(thread_id)
        if sandbox is None or sandbox.state in ENDED:
            return ["forgotten"] if store.forget(thread_id, user_id) else []
        if sandbox.state == State.STARTING:
            return ["moved_on"] if self.service.move_on(sandbox) else []
        if sandbox.state == State.STOPPING or sandbox.task_arn not in tasks:
            # Not in the list is a hint, too.
            confirmed = self.service.confirm(sandbox)
            return ["gone"] if confirmed.state in ENDED else []
        ends_at = self.service.ends_at(sandbox)
        if ends_at is not None and self.now() - ends_at > OVERDUE_SECONDS:
            # It has not ended itself, so it cannot.
            self.service.stop(thread_id)
            return ["overdue"]
        for visit in self.visits:
            visit(sandbox)
        return ["visited"]

    def _end_orphan(self, task: Task) -> bool:
        """End a task that no sandbox has, unless its start may still be under way."""
        if not OURS.fullmatch(task.started_by) or self.now() - task.created_at <= YOUNG_SECONDS:
            return False
        thread_id = self.threads.of_hash(task.started_by)
        sandbox = self.service.store.find(thread_id) if thread_id is not None else None
        if sandbox is not None and sandbox.state not in ENDED and sandbox.task_arn in {None, task.arn}:
            return False
        self.launcher.stop(task.arn, reason="no sandbox has this task")
        logger.warning("orphan stopped", thread_id=thread_id, task_arn=task.arn)
        return True
