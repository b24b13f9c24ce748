"""
Refreshing a grant: its refresh token is redeemed once, and what that gives is stored before it is used.

::

    open ─▶ data key ─▶ claim ─▶ redeem ─▶ seal, store ─▶ lend

Whatever can fail without harm comes before the claim. Between redeeming and storing nobody else is asked for anything:
a failure there would lose tokens that cannot be had again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from sandbox_ctl.loans import Lender
from sandbox_ctl.openai import OpenAIClient
from threadbox.clock import unix_time
from threadbox.errors import ProviderUnreachableError, ReconnectRequiredError
from threadbox.grants import Grant, GrantStore
from threadbox.notices import Notices
from threadbox.telemetry import logger
from threadbox.vault import Binding, DataKey, Sealer, Tokens

CLAIM_SECONDS = 30
"""A claim outlives every bound of what is done under it, so that one that ran out has no living holder."""
SPARE_SECONDS = 10
"""An access token that lives this long serves on while somebody else fetches the next."""
WAIT_SECONDS = 15
LOOK_SECONDS = 0.2
LONGEST_BACKOFF = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresher:
    """Refreshes grants that are due."""

    grants: GrantStore
    lender: Lender
    sealer: Sealer
    provider: OpenAIClient
    notices: Notices
    now: Callable[[], float] = unix_time
    pause: Callable[[float], None] = time.sleep
    new_owner: Callable[[], str] = lambda: uuid4().hex

    def renewed(self, grant: Grant, *, refused: int | None = None) -> Grant | None:
        """
        Return the grant with tokens that live on; as it is, when they cannot be had just now; None when it is gone.

        Those of version *refused* do not, whatever was said of their life.

        Raises:
            VaultUnreadableError: its tokens cannot be opened.
            VaultUnavailableError: others could not be sealed.
        """
        known: Grant | None = grant
        until = self.now() + WAIT_SECONDS
        while known is not None and self._due(known, refused):
            if known.refresh_owner is None:
                settled = self._refresh(known)
                if settled is not None:
                    return settled
            elif known.refresh_until <= self.now():
                self._give_up(known, expired_only=True)
            elif known.expires_at - self.now() > SPARE_SECONDS or self.now() > until:
                return known
            else:
                self.pause(LOOK_SECONDS)
            known = self.grants.find(grant.thread_id)
        return known

    def _due(self, grant: Grant, refused: int | None) -> bool:
        due_at = 0 if grant.version == refused else grant.renew_at
        return not grant.reconnect_required and self.now() >= max(due_at, grant.retry_at)

    def _refresh(self, grant: Grant) -> Grant | None:
        """Return what became of the grant, or None when somebody else is at it, or was."""
        tokens, binding = self.lender.open(grant)
        key = self.sealer.data_key(thread_id=binding.thread_id, owner=binding.owner, provider=binding.provider)
        claimed = self.grants.claim(grant, owner=self.new_owner(), seconds=CLAIM_SECONDS)
        if claimed is None:
            return None
        try:
            redeemed = self.provider.refresh(tokens.refresh_token)
        except ReconnectRequiredError:
            return self._give_up(claimed, expired_only=False)
        except ProviderUnreachableError:
            return self.grants.give_back(claimed, retry_after=min(2**claimed.failures, LONGEST_BACKOFF))
        refresh_token = redeemed.refresh_token or tokens.refresh_token
        fresh = Tokens(access_token=redeemed.access_token, refresh_token=refresh_token)
        now = int(self.now())
        return self._store(claimed, fresh, binding, key, obtained_at=now, expires_at=now + redeemed.expires_in)

    def _store(
        self, claimed: Grant, tokens: Tokens, binding: Binding, key: DataKey, *, obtained_at: int, expires_at: int
    ) -> Grant | None:
        sealed = key.seal(tokens, binding.model_copy(update={"expires_at": expires_at}))
        stored = self.grants.refreshed(claimed, sealed, obtained_at=obtained_at, expires_at=expires_at)
        if stored is None:
            # Disconnected, or connected anew, meanwhile: nobody will ever ask for these.
            self.provider.revoke(tokens.refresh_token)
            return None
        logger.info("grant refreshed", thread_id=stored.thread_id, expires_at=stored.expires_at)
        self.lender.remember(stored, tokens)
        return stored

    def _give_up(self, grant: Grant, *, expired_only: bool) -> Grant | None:
        """Have the user sign in again, and say so once."""
        told = self.grants.require_reconnect(grant, expired_only=expired_only)
        if told is not None:
            logger.warning("reconnect required", thread_id=grant.thread_id, claim_expired=expired_only)
            self.notices.codex(grant.thread_id, "reconnect_required")
        return told
