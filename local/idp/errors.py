"""
How the provider refuses, one class per code.

* OAuthError                      invalid_request          400
  + AuthorizationPendingError     authorization_pending    403, which OpenCode takes for "poll again"
  + AccessDeniedError             access_denied            400
  + ExpiredTokenError             expired_token            400
  + InvalidClientError            invalid_client           401
  + InvalidGrantError             invalid_grant            400
  + InvalidTokenError             invalid_token            401
  + RefreshTokenReusedError       refresh_token_reused     400
  + UnsupportedGrantTypeError     unsupported_grant_type   400
"""

from http import HTTPStatus
from typing import ClassVar


class OAuthError(Exception):
    """The request is missing something, or holds something that cannot be."""

    code: ClassVar[str] = "invalid_request"
    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST


class AuthorizationPendingError(OAuthError):
    """The user has not decided yet."""

    code = "authorization_pending"
    status = HTTPStatus.FORBIDDEN


class AccessDeniedError(OAuthError):
    """The user said no."""

    code = "access_denied"


class ExpiredTokenError(OAuthError):
    """The device code has expired, was redeemed, or never was."""

    code = "expired_token"


class InvalidClientError(OAuthError):
    """No such client."""

    code = "invalid_client"
    status = HTTPStatus.UNAUTHORIZED


class InvalidGrantError(OAuthError):
    """The code or the refresh token is wrong, expired, revoked, or belongs to another client or redirect."""

    code = "invalid_grant"


class InvalidTokenError(OAuthError):
    """The access token is wrong, expired, or its grant is gone."""

    code = "invalid_token"
    status = HTTPStatus.UNAUTHORIZED


class RefreshTokenReusedError(OAuthError):
    """The refresh token was used before; its grant is gone now."""

    code = "refresh_token_reused"


class UnsupportedGrantTypeError(OAuthError):
    """Neither a code nor a refresh token."""

    code = "unsupported_grant_type"
