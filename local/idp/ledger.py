"""What outlives the process, as the grants in the stack's table do: grants and used refresh tokens."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ValidationError

from local.idp.authority import write


class Grant(BaseModel):
    """What one sign-in gave to one client."""

    id: str
    client_id: str
    account_id: str
    revoked: bool = False


class RefreshToken(BaseModel):
    """One of a grant's, of which the last alone is unused."""

    grant_id: str
    used: bool = False


class Ledger(BaseModel):
    """All of them; the tokens by their hash, so that the file lets nobody in."""

    grants: dict[str, Grant] = {}
    refresh_tokens: dict[str, RefreshToken] = {}

    @classmethod
    def load(cls, file: Path) -> "Ledger":
        """What was saved there last; nothing if that is of another version of this file, or there is none."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return cls()

    def save(self, file: Path) -> None:
        """Keep it, for its owner alone."""
        write(file, self.model_dump_json().encode(), mode=0o600)

    def add_token(self, value: str, grant: Grant) -> None:
        """Remember a refresh token of that grant."""
        self.refresh_tokens[hash_of(value)] = RefreshToken(grant_id=grant.id)

    def find_token(self, value: str) -> RefreshToken | None:
        """The refresh token, used or not."""
        return self.refresh_tokens.get(hash_of(value))


def hash_of(token: str) -> str:
    """By what a token is known without being known."""
    return hashlib.sha256(token.encode()).hexdigest()
