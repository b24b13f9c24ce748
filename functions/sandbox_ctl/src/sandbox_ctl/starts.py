"""
A start, moved on phase by phase by the holder of its lease.

Every phase can end four ways: it is done and the next one follows at once; it needs time, and the lease is given
back for the next caller; the task is known to be over, and a new generation is tried once; or the start fails.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sandbox_ctl.codex import CodexService
from sandbox_ctl.daemon import DaemonClient
from sandbox_ctl.launcher import Launcher, Task
from sandbox_ctl.lifecycle import Detail, State
from sandbox_ctl.memories import MemoryService
from sandbox_ctl.models import ModelAccess
from sandbox_ctl.outcomes import not_started, started
from sandbox_ctl.sandboxes import LEASE, Launch, Sandbox, SandboxStore
from threadbox.clock import unix_time
from threadbox.errors import OpenCodeError, SandboxUnavailableError, VaultUnreadableError
from threadbox.policies import PolicyStore
from threadbox.telemetry import logger

LAUNCH_TRIES = 3
LAUNCH_SECONDS = 15
"""RunTask takes no longer, its client's own retry included (handler.py)."""
LAUNCH_BACKOFF = (1, 3)
PENDING_LIMIT = 180
CLAIM_LIMIT = 60
RESTORE_LIMIT = 180
BOOT_LIMIT = 60
SEEN_WITHIN = 60
"""ECS may not know a task yet of which it has just told the ARN; later, one it does not know is gone."""
RETRIES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """Moves starts on."""

    store: SandboxStore
    launcher: Launcher
    daemon: DaemonClient
    codex: CodexService
    policies: PolicyStore
    memories: MemoryService
    models: Callable[[], ModelAccess]
    now: Callable[[], float] = unix_time

    def advance(self, sandbox: Sandbox, *, owner: str, launch: Callable[[str | None], Launch]) -> Sandbox | None:
        """Take the lease and go as far as possible without waiting; None when somebody else has it."""
        held = self.store.take(sandbox, owner=owner)
        return self.run(held, owner=owner, launch=launch) if held else None

    def run(self, sandbox: Sandbox, *, owner: str, launch: Callable[[str | None], Launch]) -> Sandbox:
        """Go as far as possible without waiting, as the lease's holder."""
        step = _Step(self, sandbox, owner, launch)
        phases = {
            Detail.REQUESTED: step.request,
            Detail.PULLING: step.pull,
            Detail.CLAIMING: step.claim,
            Detail.RESTORING: step.boot,
            Detail.BOOTING: step.boot,
        }
        while step.going and step.sandbox.state == State.STARTING:
            phases[step.sandbox.detail]()
        return step.sandbox

    def ended(self, sandbox: Sandbox) -> str | None:
        """Return why the sandbox's task is over, or None while it is not, or is not known to be."""
        try:
            task = self.launcher.describe(sandbox.task_arn) if sandbox.task_arn else None
        except SandboxUnavailableError:
            return None
        return self.over(sandbox, task) if task is not None else None

    def over(self, sandbox: Sandbox, task: Task) -> str | None:
        """Return why the task is over, or None while it is not, or may only not be known yet."""
        if not task.stopped or (task.missing and self.now() - sandbox.phase_at <= SEEN_WITHIN):
            return None
        return task.reason or "the task ended"

    def stop(self, sandbox: Sandbox, *, reason: str) -> None:
        """Ask the sandbox's task to end."""
        if sandbox.task_arn:
            self.launcher.stop(sandbox.task_arn, reason=reason)


@dataclass(slots=True)
class _Step:
    """One holder's go at a start."""

    starter: Starter
    sandbox: Sandbox
    owner: str
    launch: Callable[[str | None], Launch]
    going: bool = True

    def request(self) -> None:
        """RunTask, with what was stored; throttling and lack of capacity are tried again later, but not for ever."""
        try:
            self.starter.codex.loan(self.sandbox.thread_id)
            if self.sandbox.lease_until - self.starter.now() < LAUNCH_SECONDS:
                # A call that came after the lease's end might start a task beside the next holder's.
                self._progress()
                if not self.going:
                    return
            task_arn = self.starter.launcher.launch(self.sandbox)
        except VaultUnreadableError as exc:
            self._fail(str(exc))
            return
        except SandboxUnavailableError as exc:
            tries = self.sandbox.launch_tries + 1
            if tries >= LAUNCH_TRIES:
                self._give_up_launch(str(exc))
            else:
                self._progress(lease=LAUNCH_BACKOFF[tries - 1], launch_tries=tries)
                self.going = False
            return
        self._progress(task_arn=task_arn, detail=Detail.PULLING)

    def _give_up_launch(self, reason: str) -> None:
        """Fail, unless one of the calls started a task whose ARN never came: that one is gone on with."""
        try:
            found = self.starter.launcher.alive(self.sandbox.thread_id)
        except SandboxUnavailableError:
            # A further generation beside a task that nobody knows of would be a second task.
            self._progress(lease=LAUNCH_BACKOFF[-1])
            self.going = False
            return
        if found:
            self._progress(task_arn=found[0].arn, detail=Detail.PULLING)
        else:
            self._fail(reason)

    def pull(self) -> None:
        """Wait for the task to run."""
        task = self._describe()
        if task is None:
            return
        if task.running and task.address:
            self._progress(address=task.address, detail=Detail.CLAIMING)
        elif self._too_long(PENDING_LIMIT):
            self._end_task("it did not start in time")
        else:
            self._give_back()

    def claim(self) -> None:
        """Say hello, and bind the sandbox to its thread, with its policy, its memory and what it is lent."""
        try:
            loan = self.starter.codex.loan(self.sandbox.thread_id)
            self.starter.daemon.hello(self.sandbox)
            policy = self.starter.policies.get(self.sandbox.thread_id)
            memory = self.starter.memories.of(self.sandbox)
            status = self.starter.daemon.bind(self.sandbox, self.starter.models(), loan, policy, memory)
        except VaultUnreadableError:
            self._look_again(CLAIM_LIMIT, "the stored sign-in cannot be opened")
            return
        except SandboxUnavailableError:
            self._look_again(CLAIM_LIMIT, "its memory cannot be reached")
            return
        except OpenCodeError:
            self._look_again(CLAIM_LIMIT, "it did not answer")
            return
        detail = Detail.RESTORING if status.state == "restoring" else Detail.BOOTING
        self._progress(detail=detail, memory_at=int(self.starter.now()))

    def boot(self) -> None:
        """Wait for what was kept of the thread to be back, and for OpenCode to answer."""
        try:
            status = self.starter.daemon.status(self.sandbox, wait=1)
        except OpenCodeError:
            self._look_again(self._boot_limit, "OpenCode did not start")
            return
        if status.state == "booting" and self.sandbox.detail == Detail.RESTORING:
            self._progress(detail=Detail.BOOTING)
        elif status.state == "ready":
            ready = self.starter.store.ready(
                self.sandbox,
                owner=self.owner,
                session_id=status.session_id or "",
                opencode_version=status.opencode_version or "",
                policy_version=status.policy_version or 0,
            )
            self._lost_or(ready)
            if ready:
                started(ready)
                if status.codex_version is not None:
                    self.starter.codex.lent(ready, status.codex_version)
        elif self._too_long(self._boot_limit):
            self._end_task("OpenCode did not start in time")
        else:
            self._give_back()

    @property
    def _boot_limit(self) -> int:
        return RESTORE_LIMIT if self.sandbox.detail == Detail.RESTORING else BOOT_LIMIT

    def _look_again(self, limit: int, reason: str) -> None:
        """See whether the task still runs; it has *limit* seconds for this phase."""
        task = self._describe()
        if task is None:
            return
        if self._too_long(limit):
            self._end_task(reason)
        else:
            self._give_back()

    def _describe(self) -> Task | None:
        """Return the task while it lives; otherwise deal with its end, or with not knowing, and return None."""
        try:
            task = self.starter.launcher.describe(self.sandbox.task_arn or "")
        except SandboxUnavailableError:
            self._give_back()
            return None
        if (reason := self.starter.over(self.sandbox, task)) is not None:
            self._task_over(reason)
            return None
        return task

    def _end_task(self, reason: str) -> None:
        """Stop the task; once it is seen to have stopped, a later step tries the next generation."""
        try:
            self.starter.launcher.stop(self.sandbox.task_arn or "", reason=reason)
        except SandboxUnavailableError:
            logger.warning("task not stopped", thread_id=self.sandbox.thread_id, task_arn=self.sandbox.task_arn)
        self._give_back()

    def _task_over(self, reason: str) -> None:
        logger.warning("task over", thread_id=self.sandbox.thread_id, detail=self.sandbox.detail, reason=reason)
        if self.sandbox.retries < RETRIES:
            self._lost_or(
                self.starter.store.next_generation(
                    self.sandbox, owner=self.owner, launch=self.launch(self.sandbox.launch.size)
                )
            )
        else:
            self._fail(f"The sandbox could not be started: {reason}")

    def _fail(self, reason: str) -> None:
        failed = self.starter.store.fail(self.sandbox, owner=self.owner, reason=reason)
        if failed is not None:
            not_started(failed)
        self._lost_or(failed)

    def _progress(self, *, lease: int = LEASE, **changes: str | int) -> None:
        self._lost_or(self.starter.store.progress(self.sandbox, owner=self.owner, lease=lease, changes=changes))

    def _give_back(self) -> None:
        self._progress(lease=0)
        self.going = False

    def _lost_or(self, sandbox: Sandbox | None) -> None:
        """Go on with what was written, or stop here when the lease was lost."""
        if sandbox is None:
            self.going = False
        else:
            self.sandbox = sandbox

    def _too_long(self, limit: int) -> bool:
        return self.starter.now() - self.sandbox.phase_at > limit
