"""A thread's Codex connection: what its sandbox is lent of it, and its end."""

from collections.abc import Callable
from dataclasses import dataclass

from sandbox_ctl.daemon import DaemonClient
from sandbox_ctl.loans import Lender, Loan
from sandbox_ctl.openai import OpenAIClient
from sandbox_ctl.refresher import Refresher
from sandbox_ctl.sandboxes import Sandbox
from threadbox.clock import unix_time
from threadbox.control import Codex, CodexState
from threadbox.errors import ConflictError, VaultUnavailableError, VaultUnreadableError
from threadbox.grants import Grant, GrantStore
from threadbox.telemetry import logger

TRIES = 5
AGAIN_SECONDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CodexService:
    """Lends access tokens, and ends connections."""

    grants: GrantStore
    lender: Lender
    refresher: Refresher
    daemon: DaemonClient
    provider: OpenAIClient
    now: Callable[[], float] = unix_time

    def prepare(self, thread_id: str, *, refresh: bool) -> None:
        """
        See, before there is a task, that a sandbox of the thread can be lent what it is to have.

        Raises:
            VaultUnreadableError: there is a grant, and it cannot be opened.
        """
        stored = self.grants.find(thread_id)
        grant = self._renewed(stored) if stored is not None and refresh else stored
        if grant is not None and self._alive(grant):
            # What this very call refreshed was opened for that.
            self.lender.lend(grant, anew=grant == stored)

    def loan(self, thread_id: str) -> Loan | None:
        """
        Return what a new sandbox is to be bound with; None when there is no access token that lives.

        Raises:
            VaultUnreadableError: there is one, and it cannot be opened.
        """
        grant = self.grants.find(thread_id)
        return self.lender.lend(grant) if grant is not None and self._alive(grant) else None

    def lent(self, sandbox: Sandbox, version: int) -> None:
        """
        Note what the sandbox was lent, and take it back if the thread was disconnected meanwhile.

        Raises:
            OpenCodeError: it does not let go of it.
        """
        noted = self.grants.note_held(sandbox.thread_id, version=version, generation=sandbox.generation)
        if noted is None and self.grants.find(sandbox.thread_id) is None:
            self.daemon.remove_provider(sandbox, self.grants.provider, version=version)

    def freshen(self, sandbox: Sandbox, *, refused: int | None = None) -> Codex | None:
        """
        See that the running sandbox has an access token that lives on; None when the thread has no grant.

        One of version *refused* is over, whatever was said of its life.

        Raises:
            VaultUnreadableError, VaultUnavailableError: the one it has is over, and the vault gives no other.
            OpenCodeError: the sandbox does not take it.
        """
        grant = self.grants.find(sandbox.thread_id)
        if grant is not None:
            grant = self._renewed(grant, refused=refused)
        if grant is None:
            return None
        if self._alive(grant) and (grant.held_by, grant.held_version) != (sandbox.generation, grant.version):
            loan = self.lender.lend(grant)
            self.daemon.put_provider(sandbox, self.grants.provider, loan)
            self.lent(sandbox, loan.version)
        return Codex(state=self._state(grant), version=grant.version, renew_at=self._again_at(grant))

    def disconnect(self, thread_id: str, sandbox: Sandbox | None) -> bool:
        """
        Take the grant from *sandbox*, if one runs, then from its row, then revoke it; False when there was none.

        Raises:
            OpenCodeError: the sandbox does not let go of it. Then the row stays, and trying again is enough.
            ConflictError: its tokens changed too often meanwhile.
        """
        removed = False
        for _ in range(TRIES):
            grant = self.grants.find(thread_id)
            version = grant.version if grant else None
            if sandbox is not None:
                removed |= self.daemon.remove_provider(sandbox, self.grants.provider, version=version)
            if grant is None or self.grants.delete(grant):
                if grant is not None:
                    self._revoke(grant)
                logger.info("codex disconnected", thread_id=thread_id, removed=removed or grant is not None)
                return removed or grant is not None
        raise ConflictError("Too much is going on here just now. Please try again.", retry_after=1)

    def _renewed(self, grant: Grant, *, refused: int | None = None) -> Grant | None:
        """Return the grant, refreshed if that is due; what the vault fails in matters once the token is over."""
        try:
            return self.refresher.renewed(grant, refused=refused)
        except (VaultUnreadableError, VaultUnavailableError):
            if not self._alive(grant):
                raise
            return grant

    def _revoke(self, grant: Grant) -> None:
        try:
            tokens, _ = self.lender.open(grant)
        except VaultUnreadableError:
            logger.warning("grant not revoked", thread_id=grant.thread_id)
            return
        self.provider.revoke(tokens.refresh_token)

    def _alive(self, grant: Grant) -> bool:
        return not grant.ended and grant.expires_at > self.now()

    def _state(self, grant: Grant) -> CodexState:
        if self._alive(grant):
            return "connected"
        return "reconnect_required" if grant.reconnect_required else "unavailable"

    def _again_at(self, grant: Grant) -> int | None:
        """Return when it is worth asking again (epoch seconds); None when it is not."""
        if grant.reconnect_required:
            return None
        due = max(grant.renew_at, grant.retry_at)
        return due if due > self.now() else int(self.now()) + AGAIN_SECONDS
