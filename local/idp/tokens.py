"""
Tokens as the provider issues them: JWTs whose claims tell the account, and refresh tokens, which tell nothing.

Whoever searches what a run has written for tokens finds all of them by how they begin: ``JWT_PREFIX`` and
``REFRESH_PREFIX``. They are never given out for that.
"""

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import jwt

from local.idp.errors import InvalidTokenError
from local.idp.settings import Settings

AUTH_CLAIM = "https://api.openai.com/auth"
ALGORITHM = "HS256"
"""The real ones are RS256. Nobody but this provider verifies them, here as there."""
HEADER = {"alg": ALGORITHM, "kid": "local-idp", "typ": "JWT"}
JWT_PREFIX = base64.urlsafe_b64encode(json.dumps(HEADER, separators=(",", ":")).encode()).rstrip(b"=").decode()
"""What every access token and id token begins with, and no other JWT: the header, encoded."""
REFRESH_PREFIX = "rt_local-idp_"
"""What every refresh token begins with. The real ones begin with ``rt_``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Whom an access token speaks for."""

    grant_id: str
    account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSigner:
    """Signs and verifies tokens."""

    key: bytes
    issuer: str
    settings: Settings
    now: Callable[[], float]

    def id_token(self, *, grant_id: str, account_id: str, client_id: str) -> str:
        """Who signed in."""
        return self._sign(self._claims(grant_id, account_id) | {"aud": client_id, "email": "demo@example.com"})

    def access_token(self, *, grant_id: str, account_id: str, client_id: str) -> str:
        """What the models ask for."""
        return self._sign(self._claims(grant_id, account_id) | {"aud": "https://api.openai.com/v1", "azp": client_id})

    def verify(self, access_token: str) -> Bearer:
        """
        Read an access token.

        Raises:
            InvalidTokenError: it is none, or has expired.

        """
        try:
            claims = jwt.decode(
                access_token,
                self.key,
                algorithms=[ALGORITHM],
                audience="https://api.openai.com/v1",
                # By the same clock that signed it.
                options={"verify_exp": False, "verify_iat": False, "require": ["exp", "sid"]},
            )
        except jwt.InvalidTokenError as error:
            raise InvalidTokenError("The access token is not valid.") from error
        if claims["exp"] <= self.now():
            raise InvalidTokenError("The access token has expired.")
        return Bearer(grant_id=claims["sid"], account_id=claims[AUTH_CLAIM]["chatgpt_account_id"])

    def _claims(self, grant_id: str, account_id: str) -> dict[str, object]:
        now = int(self.now())
        return {
            "iss": self.issuer,
            "sub": f"user-{account_id}",
            "sid": grant_id,
            "iat": now,
            "exp": now + self.settings.access_seconds,
            "chatgpt_account_id": account_id,
            AUTH_CLAIM: {"chatgpt_account_id": account_id, "chatgpt_plan_type": "plus"},
        }

    def _sign(self, claims: dict[str, object]) -> str:
        return jwt.encode(claims, self.key, algorithm=ALGORITHM, headers=HEADER)


def new_refresh_token() -> str:
    """One that nobody can guess."""
    return f"{REFRESH_PREFIX}{secrets.token_urlsafe(48)}"
