"""What a sandbox borrows: the access token of a grant, opened from the vault."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from pydantic import BaseModel, ConfigDict, SecretStr

from threadbox.grants import CODEX, Grant
from threadbox.threads import ThreadStore
from threadbox.vault import Binding, Opener, Tokens

KEPT_SECONDS = 120


class Loan(BaseModel):
    """An access token as a sandbox is given it. ``expires_at`` is its end (epoch seconds)."""

    model_config = ConfigDict(frozen=True)

    access_token: SecretStr
    expires_at: int
    account_id: str | None
    version: int

    @classmethod
    def of(cls, grant: Grant, tokens: Tokens) -> "Loan":
        """Return the part of *tokens* that leaves the control plane."""
        return cls(
            access_token=tokens.access_token,
            expires_at=grant.expires_at,
            account_id=grant.account_id or None,
            version=grant.version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lender:
    """
    Opens grants for lending.

    What it opened it knows for two minutes: a start proves that the vault opens before there is a task, and needs the
    token when the task runs.
    """

    threads: ThreadStore
    opener: Opener
    provider: str = CODEX
    clock: Callable[[], float] = monotonic
    _known: dict[tuple[str, int], tuple[float, Loan]] = field(default_factory=dict)

    def open(self, grant: Grant) -> tuple[Tokens, Binding]:
        """
        Return the grant's tokens, and what they belong to: the thread's owner is who the thread says it is.

        Raises:
            VaultUnreadableError: they cannot be opened.
        """
        owner = self.threads.find_owner(grant.thread_id) or ""
        binding = grant.binding(owner, self.provider)
        return self.opener.open(grant.sealed, binding), binding

    def lend(self, grant: Grant, *, anew: bool = False) -> Loan:
        """
        Return the grant's access token; *anew*: whatever is known of it.

        Raises:
            VaultUnreadableError: it cannot be opened.
        """
        self._forget()
        _, known = self._known.get((grant.thread_id, grant.version), (0.0, None))
        return self.remember(grant, self.open(grant)[0]) if anew or known is None else known

    def remember(self, grant: Grant, tokens: Tokens) -> Loan:
        """Return the part of *tokens* that is lent, and know it for a while."""
        loan = Loan.of(grant, tokens)
        self._known[grant.thread_id, grant.version] = (self.clock(), loan)
        return loan

    def _forget(self) -> None:
        for key, (since, _) in list(self._known.items()):
            if self.clock() - since > KEPT_SECONDS:
                del self._known[key]
