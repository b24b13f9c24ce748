"""
What was granted: codes that are good for one exchange, and refresh tokens that are good for one use each.

    code ── exchange ──▶ grant ── refresh ──▶ the same grant with another refresh token
                           ├──── a token or a code comes a second time ──▶ gone, with all its tokens
                           └──── revoke ──▶ gone, with all its tokens
"""

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.idp.errors import InvalidGrantError, InvalidTokenError, RefreshTokenReusedError
from local.idp.ledger import Grant, Ledger
from local.idp.tokens import Bearer, TokenSigner, new_refresh_token

CODE_SECONDS = 300.0


@dataclass(slots=True, kw_only=True)
class AuthorizationCode:
    """Good for one exchange, by the client and for the redirect it was made for, with the verifier (RFC 7636)."""

    value: str
    client_id: str
    redirect_uri: str
    code_challenge: str
    account_id: str
    expires_at: float
    grant_id: str | None = None
    """What it was exchanged for."""


class Grants:
    """All of them. What they are is in a file before anybody is told of it."""

    def __init__(self, signer: TokenSigner, *, file: Path, now: Callable[[], float]) -> None:
        self._signer = signer
        self._file = file
        self._now = now
        self._codes: dict[str, AuthorizationCode] = {}
        self._ledger = Ledger.load(file)

    def issue_code(self, *, client_id: str, redirect_uri: str, code_challenge: str, account_id: str) -> str:
        """A code for whoever knows the verifier."""
        code = AuthorizationCode(
            value=f"ac_{secrets.token_urlsafe(32)}",
            client_id=client_id,
            redirect_uri=redirect_uri,
            code_challenge=code_challenge,
            account_id=account_id,
            expires_at=self._now() + CODE_SECONDS,
        )
        self._codes[code.value] = code
        return code.value

    def exchange(
        self, value: str, *, client_id: str, redirect_uri: str, code_verifier: str
    ) -> tuple[Grant, dict[str, object]]:
        """
        The grant that a code stands for, and its first tokens.

        Raises:
            InvalidGrantError: the code is not good for this; if it was used before, what it gave is gone.

        """
        code = self._codes.get(value)
        if code is None or code.expires_at <= self._now():
            raise InvalidGrantError("The code is not valid.")
        if code.grant_id is not None:
            self._revoke(self._ledger.grants[code.grant_id])
            raise InvalidGrantError("The code was used before.")
        if (code.client_id, code.redirect_uri) != (client_id, redirect_uri):
            raise InvalidGrantError("The code belongs to another client or redirect.")
        if not secrets.compare_digest(code.code_challenge, challenge_of(code_verifier)):
            raise InvalidGrantError("The code verifier does not match.")
        grant = Grant(id=f"grant_{secrets.token_hex(8)}", client_id=client_id, account_id=code.account_id)
        code.grant_id = grant.id
        self._ledger.grants[grant.id] = grant
        return grant, self._tokens(grant)

    def refresh(self, value: str, *, client_id: str) -> tuple[Grant, dict[str, object]]:
        """
        The next tokens of a grant.

        Raises:
            RefreshTokenReusedError: the token was used before; the grant is gone now.
            InvalidGrantError: it is no token of a grant of this client.

        """
        token, grant = self._ledger.find_token(value), self.grant_of(value)
        if token is None or grant is None or grant.client_id != client_id:
            raise InvalidGrantError("The refresh token is not valid.")
        if token.used:
            self._revoke(grant)
            raise RefreshTokenReusedError("Your refresh token has already been used to generate a new access token.")
        if grant.revoked:
            raise InvalidGrantError("The refresh token was revoked.")
        token.used = True
        return grant, self._tokens(grant)

    def revoke(self, token: str) -> Grant | None:
        """End the grant that a token belongs to, used or not; None when there is none to end (RFC 7009, 2.2)."""
        grant = self.grant_of(token) or self._grant_of_access_token(token)
        if grant is not None:
            self._revoke(grant)
        return grant

    def bearer(self, access_token: str) -> Bearer:
        """
        Whom an access token speaks for.

        Raises:
            InvalidTokenError: nobody, not any more.

        """
        bearer = self._signer.verify(access_token)
        grant = self._ledger.grants.get(bearer.grant_id)
        if grant is None or grant.revoked:
            raise InvalidTokenError("The access token was revoked.")
        return bearer

    def grant_of(self, refresh_token: str) -> Grant | None:
        """The grant that a refresh token belongs to, used or not."""
        token = self._ledger.find_token(refresh_token)
        return self._ledger.grants[token.grant_id] if token else None

    def _grant_of_access_token(self, token: str) -> Grant | None:
        try:
            return self._ledger.grants.get(self._signer.verify(token).grant_id)
        except InvalidTokenError:
            return None

    def _revoke(self, grant: Grant) -> None:
        grant.revoked = True
        self._ledger.save(self._file)

    def _tokens(self, grant: Grant) -> dict[str, object]:
        refresh_token = new_refresh_token()
        self._ledger.add_token(refresh_token, grant)
        self._ledger.save(self._file)
        whose = {"grant_id": grant.id, "account_id": grant.account_id, "client_id": grant.client_id}
        return {
            "id_token": self._signer.id_token(**whose),
            "access_token": self._signer.access_token(**whose),
            "refresh_token": refresh_token,
            "token_type": "Bearer",
            "expires_in": self._signer.settings.access_seconds,
        }


def challenge_of(code_verifier: str) -> str:
    """The S256 challenge that a verifier answers."""
    digest = hashlib.sha256(code_verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
