"""
Call tokens: how a caller proves that the control plane sent it.

A JWT signed with EdDSA whose audience is this task's ARN. A *control* token is good for one call (method, path, body
hash, one use) and lives a minute at most; a *use* token (``turn``, ``signin``) opens an allow list of routes and lives
as long as one function call may.
"""

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sandboxd.errors import UnauthorizedError

CONTROL_SECONDS = 60
USE_SECONDS = 900
CLOCK_SKEW_SECONDS = 5
REMEMBERED_CALLS = 100_000


class Claims(BaseModel):
    """What a genuine token says. Times are Unix seconds; ``body`` is the hex SHA-256 of the body's bytes."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    thread: str = Field(min_length=1, max_length=128)
    gen: int
    scope: Literal["control", "turn", "signin"]
    iat: int
    exp: int
    jti: str = Field(min_length=1, max_length=128)
    method: str | None = None
    path: str | None = None
    body: str | None = None

    @model_validator(mode="after")
    def _lives_no_longer_than_it_may(self) -> Self:
        limit = CONTROL_SECONDS if self.scope == "control" else USE_SECONDS
        if not 0 < self.exp - self.iat <= limit:
            raise ValueError("life out of bounds")
        return self


def public_keys(encoded: Mapping[str, str]) -> dict[str, Ed25519PublicKey]:
    """
    Read the key set of ``SANDBOXD_CALL_KEYS``.

    Raises:
        ValueError: a key is not base64url of 32 bytes.
    """
    return {
        kid: Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        for kid, text in encoded.items()
    }


class TokenVerifier:
    """Tells genuine tokens from all others, and remembers the control tokens that were used."""

    def __init__(
        self,
        keys: Mapping[str, Ed25519PublicKey],
        *,
        audience: str,
        now: Callable[[], float] = time.time,
        remembered_calls: int = REMEMBERED_CALLS,
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._now = now
        self._remembered_calls = remembered_calls
        self._used: dict[str, int] = {}

    def verify(self, token: str) -> Claims:
        """
        Return the claims of a token that was signed for this task and has not run out.

        Raises:
            UnauthorizedError: for every other token, whatever is wrong with it.
        """
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            # The times are compared below, against the clock that was given.
            payload: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=self._audience,
                options={
                    "require": ["aud", "iat", "exp", "jti"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "strict_aud": True,
                },
            )
            claims = Claims.model_validate(payload)
        except (jwt.InvalidTokenError, ValidationError, KeyError, TypeError) as exc:
            raise UnauthorizedError from exc
        now = self._now()
        if not claims.iat - CLOCK_SKEW_SECONDS <= now < claims.exp:
            raise UnauthorizedError
        return claims

    def spend(self, claims: Claims) -> None:
        """
        Use up a control token.

        Raises:
            UnauthorizedError: it was used before; or more calls are remembered than memory is set aside for, in
                which case refusing is the safe answer.
        """
        if len(self._used) >= self._remembered_calls:
            now = self._now()
            self._used = {jti: exp for jti, exp in self._used.items() if exp > now}
        if claims.jti in self._used or len(self._used) >= self._remembered_calls:
            raise UnauthorizedError
        self._used[claims.jti] = claims.exp
