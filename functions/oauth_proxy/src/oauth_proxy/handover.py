"""
The hand-over of a grant: from the sandbox, where OpenCode got it, into the vault.

::

    approved ──tokens──▶ sealed ──one transaction──▶ stored, connected ──accept──▶ the sandbox has the access token

Whoever dies on the way loses nothing: until it is told that they are stored, the sandbox gives the tokens out again.
They are in this function's memory only, and never in what a step answers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from oauth_proxy.attempts import AttemptService
from oauth_proxy.outcomes import signin_ended
from oauth_proxy.sandbox import Approved
from oauth_proxy.signin import Signin, Status
from threadbox.clock import unix_time
from threadbox.errors import ConflictError, VaultUnavailableError
from threadbox.grants import Grant
from threadbox.vault import Sealer, Tokens

TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Stores what sign-ins bring."""

    attempts: AttemptService
    sealer: Sealer
    now: Callable[[], float] = unix_time

    def store(self, signin: Signin, approved: Approved) -> Status | None:
        """
        Seal and store what was approved, and end the attempt; return how it ended, None when its row is gone.

        It is a mismatch for another account than the stored grant's, unless the attempt may replace it.

        Raises:
            VaultUnavailableError: it cannot be sealed just now, or too much changes; nothing was stored.
        """
        signins = self.attempts.signins
        tokens = Tokens(access_token=approved.access_token, refresh_token=approved.refresh_token)
        for _ in range(TRIES):
            before = signins.grants.find(signin.thread_id)
            if before is not None and before.account_id != (approved.account_id or "") and not signin.replace:
                return self.attempts.end(signin, Status.MISMATCH)
            grant = Grant(
                thread_id=signin.thread_id,
                account_id=approved.account_id or "",
                expires_at=approved.expires_at,
                obtained_at=int(self.now()),
                version=signins.grants.next_version(before),
            )
            sealed = self.sealer.seal(tokens, grant.binding(signin.user_id, signins.grants.provider))
            try:
                connected = signins.connect(signin, grant, sealed, before=before)
            except ConflictError:
                continue
            if connected is None:
                return self.attempts.end(signin, Status.CANCELLED)
            signin_ended(signin, Status.CONNECTED, now=self.now())
            self.attempts.audit.record(
                "codex_connected", thread_id=signin.thread_id, user_id=signin.user_id, replaced=before is not None
            )
            return Status.CONNECTED
        raise VaultUnavailableError("The sign-in cannot be stored just now.", retry_after=1)
