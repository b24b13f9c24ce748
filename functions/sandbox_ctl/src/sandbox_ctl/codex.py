"""Ending a thread's Codex connection: in the sandbox that runs, and in the row that says who is connected."""

from dataclasses import dataclass

from sandbox_ctl.daemon import DaemonClient
from sandbox_ctl.sandboxes import SandboxStore, State
from sandbox_ctl.service import SandboxService
from threadbox.errors import OpenCodeError
from threadbox.grants import GrantStore
from threadbox.telemetry import logger


@dataclass(frozen=True, slots=True, kw_only=True)
class CodexService:
    """Ends connections."""

    grants: GrantStore
    store: SandboxStore
    sandboxes: SandboxService
    daemon: DaemonClient

    def disconnect(self, thread_id: str) -> bool:
        """
        Take the grant from the sandbox that runs, then from its row; False when there was none.

        Raises:
            OpenCodeError: the sandbox does not let go of it. Then the row stays, and trying again is enough.
        """
        in_sandbox = self._take_from_sandbox(thread_id)
        removed = self.grants.delete(thread_id) or in_sandbox
        logger.info("codex disconnected", thread_id=thread_id, removed=removed)
        return removed

    def _take_from_sandbox(self, thread_id: str) -> bool:
        sandbox = self.store.find(thread_id)
        if sandbox is None or sandbox.state != State.RUNNING:
            return False
        try:
            return self.daemon.remove_provider(sandbox, self.grants.provider)
        except OpenCodeError:
            # One that ended, unnoticed until now, has nothing left to let go of.
            self.sandboxes.task_changed(thread_id, sandbox.task_arn or "")
            known = self.store.find(thread_id)
            if known is not None and (known.state, known.generation) == (State.RUNNING, sandbox.generation):
                raise
            return False
