"""What a thread's user lets the agent do, as its web app shows and changes it."""

from dataclasses import dataclass

from threadbox.audit import AuditTrail
from threadbox.control import SandboxControlClient
from threadbox.errors import AppError
from threadbox.policies import PolicyStore, ToolPolicy
from threadbox.sessions import SessionVerifier
from threadbox.telemetry import logger
from threadbox.threads import ThreadStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicyService:
    """Reads and changes the tool policy of threads."""

    sessions: SessionVerifier
    threads: ThreadStore
    policies: PolicyStore
    control: SandboxControlClient
    audit: AuditTrail

    def get(self, thread_id: str, *, token: str) -> ToolPolicy:
        """
        Return the thread's policy.

        Raises:
            UnauthorizedError, ForbiddenError: the token is not good for this thread.
        """
        self._enter(thread_id, token)
        return self.policies.get(thread_id).policy

    def put(self, thread_id: str, policy: ToolPolicy, *, token: str) -> ToolPolicy:
        """
        Have the thread's next turn come under that policy; a turn under way goes on under the one it began with.

        Raises:
            UnauthorizedError, ForbiddenError: the token is not good for this thread.
            NotFoundError: the thread was deleted meanwhile.
        """
        user_id = self._enter(thread_id, token)
        self.audit.record("tool_policy_changed", thread_id=thread_id, user_id=user_id, policy=policy.value)
        kept = self.policies.put(thread_id, policy)
        try:
            # So that the sandbox takes it while it is idle: no turn begins without having seen to it.
            self.control.configure(thread_id)
        except AppError as error:
            logger.info("tool policy not told yet", thread_id=thread_id, code=error.code)
        return kept.policy

    def _enter(self, thread_id: str, token: str) -> str:
        session = self.sessions.verify(token, thread_id=thread_id)
        self.threads.claim(thread_id, user_id=session.user_id)
        return session.user_id
