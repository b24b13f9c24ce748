"""The tool policy on its way to a sandbox."""

from dataclasses import dataclass

from sandbox_ctl.daemon import DaemonClient
from sandbox_ctl.sandboxes import Sandbox, SandboxStore
from threadbox.policies import Policy
from threadbox.telemetry import logger


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyService:
    """Tells running sandboxes."""

    store: SandboxStore
    daemon: DaemonClient

    def tell(self, sandbox: Sandbox, policy: Policy) -> None:
        """
        See that the sandbox has been told the policy, so that its next prompt comes under it.

        Raises:
            OpenCodeError: the sandbox does not take it.
        """
        if policy.version > sandbox.policy_version:
            told = self.daemon.put_policy(sandbox, policy)
            self.store.told(sandbox, version=told.version)
            logger.info("tool policy told", thread_id=sandbox.thread_id, policy=told.policy, version=told.version)
