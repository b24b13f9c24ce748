"""
All that is OpenAI's in this function: redeeming and revoking refresh tokens (RFC 6749 section 6, RFC 7009).

Another provider, or a client id of one's own, is put in here, in oauth_proxy's and sandboxd's adapters and in
``threadbox.grants``. A grant belongs to the client that it was given to: OpenCode's.
"""

from dataclasses import dataclass
from http import HTTPStatus

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from threadbox.errors import ProviderUnreachableError, ReconnectRequiredError
from threadbox.telemetry import logger

CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
"""The client id that OpenCode signs in with (measured, opencode 1.18.33)."""
REFRESH_SECONDS = 10
REVOKE_SECONDS = 5
CONNECT_SECONDS = 3
LIFE_SECONDS = 3600
"""How long an access token lives when the provider does not say; OpenCode takes it so (measured, opencode 1.18.33)."""
LONGEST_CODE = 64
REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED)
"""With an OAuth error code in them, these are the provider's last word (RFC 6749 section 5.2)."""


class Redeemed(BaseModel):
    """What a refresh token gave; ``expires_in`` is the access token's life in seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1)
    refresh_token: SecretStr | None = Field(default=None, min_length=1)
    expires_in: int = Field(default=LIFE_SECONDS, gt=0)


class _Refusal(BaseModel):
    """An OAuth error: a code, or OpenAI's object with a code in it."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    class Details(BaseModel):
        """What stands in OpenAI's object."""

        code: str

    error: str | Details

    @property
    def code(self) -> str:
        """The error's code."""
        return self.error if isinstance(self.error, str) else self.error.code


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIClient:
    """Calls the authorization server at *issuer*."""

    http: httpx.Client
    issuer: str

    def refresh(self, refresh_token: SecretStr) -> Redeemed:
        """
        Redeem a refresh token, which is good for this once.

        Raises:
            ReconnectRequiredError: the provider has ended the grant.
            ProviderUnreachableError: it does not answer, or not with sense; it may do so later.
        """
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token.get_secret_value(),
            "client_id": CLIENT_ID,
        }
        try:
            answer = self.http.post(f"{self.issuer}/oauth/token", data=form, timeout=_patience(REFRESH_SECONDS))
            if answer.status_code == HTTPStatus.OK:
                return Redeemed.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError) as exc:
            # Without its cause, whose text may repeat a token.
            logger.warning("refresh without an answer", cause=type(exc).__name__)
            raise ProviderUnreachableError("The sign-in service does not answer. Please try again later.") from None
        code = _code(answer)
        logger.warning("refresh refused", status=answer.status_code, error=code)
        if answer.status_code in REFUSALS and code is not None:
            raise ReconnectRequiredError("The ChatGPT connection has ended. Please sign in again.")
        raise ProviderUnreachableError("The sign-in service refuses just now. Please try again later.")

    def revoke(self, refresh_token: SecretStr) -> bool:
        """Have the provider end the grant that the token belongs to; False when it did not say that it has."""
        body = {
            "token": refresh_token.get_secret_value(),
            "token_type_hint": "refresh_token",
            "client_id": CLIENT_ID,
        }
        try:
            # JSON, as OpenAI's own client sends it, and not RFC 7009's form.
            answer = self.http.post(f"{self.issuer}/oauth/revoke", json=body, timeout=_patience(REVOKE_SECONDS))
        except httpx.HTTPError as exc:
            logger.warning("revocation without an answer", cause=type(exc).__name__)
            return False
        logger.info("revocation answered", status=answer.status_code)
        return answer.is_success


def _patience(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS)


def _code(answer: httpx.Response) -> str | None:
    try:
        return _Refusal.model_validate_json(answer.content).code[:LONGEST_CODE]
    except ValidationError:
        return None
