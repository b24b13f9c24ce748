"""ECS and sandboxd as a test scripts them, with what goes wrong there; and calls between which anything may happen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox_ctl.launcher import Task
from sandbox_ctl.sandboxes import Sandbox
from tests.fakes import FakeDaemon
from threadbox.errors import OpenCodeError, SandboxUnavailableError
from threadbox.identifiers import thread_hash

Trouble = Literal["refused", "lost", "down"]
UNSEEN_SECONDS = 30


@dataclass
class ScriptedEcs:
    """
    Tasks by client token, which move when the test says so.

    ``trouble`` is what the next calls meet, one each: *refused* and *down* do nothing, *lost* does what was asked for
    and does not say so. A task that is younger than ``UNSEEN_SECONDS`` may be one that ECS does not know yet.
    """

    now: Callable[[], float]
    tasks: dict[str, Task] = field(default_factory=dict)
    by_token: dict[tuple[str, int, int], str] = field(default_factory=dict)
    asked_to_stop: set[str] = field(default_factory=set)
    trouble: list[Trouble] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)

    def launch(self, sandbox: Sandbox) -> str:
        trouble = self._trouble()
        if trouble not in {None, "lost"}:
            raise SandboxUnavailableError("There is no room.")
        token = (sandbox.thread_id, sandbox.generation, sandbox.requested_at)
        arn = self.by_token.setdefault(token, f"arn:task/{len(self.by_token) + 1}")
        if arn not in self.tasks:
            started_by = thread_hash(sandbox.thread_id)
            self.tasks[arn] = Task(arn=arn, running=False, stopped=False, started_by=started_by, created_at=self.now())
        if trouble == "lost":
            raise SandboxUnavailableError("No answer.")
        return arn

    def describe(self, task_arn: str) -> Task:
        if self._trouble() is not None:
            raise SandboxUnavailableError("No answer.")
        task = self.tasks[task_arn]
        if task_arn in self.unseen and self.now() - task.created_at < UNSEEN_SECONDS:
            return Task(arn=task_arn, running=False, stopped=True, missing=True)
        return task

    def stop(self, task_arn: str, *, reason: str) -> None:
        trouble = self._trouble()
        if trouble in {None, "lost"}:
            self.asked_to_stop.add(task_arn)
        if trouble is not None:
            raise SandboxUnavailableError("No answer.")

    def alive(self, thread_id: str | None = None) -> list[Task]:
        if self._trouble() is not None:
            raise SandboxUnavailableError("No answer.")
        started_by = None if thread_id is None else thread_hash(thread_id)
        return [
            task
            for task in self.living()
            if task.arn not in self.asked_to_stop and started_by in {None, task.started_by}
        ]

    def living(self) -> list[Task]:
        """Return the tasks that have not stopped."""
        return [task for task in self.tasks.values() if not task.stopped]

    def move(self, arn: str) -> None:
        """Let the task do what comes next: run, or end if it was asked to."""
        task = self.tasks[arn]
        if arn in self.asked_to_stop:
            self.end(arn)
        elif not task.stopped:
            self.tasks[arn] = task.model_copy(update={"running": True, "address": "127.0.0.1"})

    def end(self, arn: str) -> None:
        """Let the task end, for whatever reason."""
        changes = {"running": False, "stopped": True, "reason": "it ended"}
        self.tasks[arn] = self.tasks[arn].model_copy(update=changes)

    def _trouble(self) -> Trouble | None:
        return self.trouble.pop(0) if self.trouble else None


@dataclass
class ScriptedDaemon(FakeDaemon):
    """The sandboxd of whatever task runs; nobody answers where none does."""

    ecs: ScriptedEcs | None = None

    def _status(self, sandbox: Sandbox, state: Any) -> Any:
        assert self.ecs is not None
        task = self.ecs.tasks[sandbox.task_arn or ""]
        if not task.running:
            raise OpenCodeError("no answer")
        return super()._status(sandbox, state)


class Hooked:
    """Whatever is called from here; before each call of its methods *meanwhile* is called with the method's name."""

    def __init__(self, real: Any, meanwhile: Callable[[str], None]) -> None:
        self._real = real
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not callable(real):
            return real

        def call(*args: Any, **arguments: Any) -> Any:
            self._meanwhile(name)
            return real(*args, **arguments)

        return call
