"""Sealing what is stored anew, under the vault's current key and schema."""

from dataclasses import dataclass

from sandbox_ctl.loans import Lender
from threadbox.control import Resealed
from threadbox.errors import VaultUnreadableError
from threadbox.grants import Grant, GrantStore
from threadbox.vault import Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class ResealService:
    """Seals grants anew, a *page* of the table's items at a time."""

    grants: GrantStore
    lender: Lender
    sealer: Sealer
    page: int = 100

    def reseal(self, after: str | None) -> Resealed:
        """
        Seal those of the next page anew that are not under the current key and schema.

        A row that changes meanwhile was sealed by whoever changed it. One that cannot be opened stays as it is.

        Raises:
            VaultUnavailableError: KMS gives no keys.
        """
        found, last = self.grants.page(after, limit=self.page)
        stale = [grant for grant in found if not self._current(grant)]
        unreadable = sum(not self._reseal(grant) for grant in stale)
        return Resealed(
            sealed=len(stale) - unreadable, current=len(found) - len(stale), unreadable=unreadable, after=last
        )

    def _current(self, grant: Grant) -> bool:
        stored = grant.sealed or {}
        return (stored.get("key_id"), stored.get("schema_version")) == (self.sealer.key_id, self.sealer.schema_version)

    def _reseal(self, grant: Grant) -> bool:
        try:
            tokens, binding = self.lender.open(grant)
        except VaultUnreadableError:
            return False
        self.grants.reseal(grant, self.sealer.seal(tokens, binding))
        return True
