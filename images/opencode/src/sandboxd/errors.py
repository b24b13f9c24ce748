"""
Everything a caller may be told about, in one tree.

* SandboxdError                internal
  + UnauthorizedError          unauthorized
  + ForbiddenError             forbidden
  + NotFoundError              not_found
  + AlreadyBoundError          already_bound
  + StaleGenerationError       stale_generation
  + TooLargeError              too_large
  + InvalidRequestError        invalid_request
  + NoSigninError              no_signin
  + ConflictError              conflict
  + SigninEndingError          signin_ending
  + MethodUnavailableError     method_unavailable
  + ProviderUnreachableError   provider_unreachable
    - ProviderSilentError
  + OpenCodeError              opencode_error
    - UnknownOutcomeError
  + NotReadyError              not_ready
    - EndingError              ending
"""

from http import HTTPStatus
from typing import ClassVar


class SandboxdError(Exception):
    """The call failed in a way its caller may be told about."""

    code: ClassVar[str] = "internal"
    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    message: ClassVar[str] = "sandboxd failed"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)

    def body(self) -> dict[str, str | int]:
        """The JSON body of the answer."""
        return {"code": self.code, "message": str(self)}


class UnauthorizedError(SandboxdError):
    """No token, or one that proves nothing. Never says which: that would help whoever guesses."""

    code = "unauthorized"
    status = HTTPStatus.UNAUTHORIZED
    message = "a valid call token is needed"


class ForbiddenError(SandboxdError):
    """A genuine token that does not open this."""

    code = "forbidden"
    status = HTTPStatus.FORBIDDEN
    message = "this call token does not open this route"


class NotFoundError(SandboxdError):
    """There is no such route."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND
    message = "no such route"


class AlreadyBoundError(SandboxdError):
    """The sandbox serves another thread or generation, for good."""

    code = "already_bound"
    status = HTTPStatus.CONFLICT
    message = "this sandbox is bound already"


class StaleGenerationError(SandboxdError):
    """A cursor of another generation: its numbers mean nothing here."""

    code = "stale_generation"
    status = HTTPStatus.CONFLICT
    message = "the cursor belongs to another generation"


class TooLargeError(SandboxdError):
    """The body is over the limit."""

    code = "too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    message = "the body is too large"


class InvalidRequestError(SandboxdError):
    """Body or query do not have the shape they must have."""

    code = "invalid_request"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    message = "the request is malformed"


class NoSigninError(SandboxdError):
    """The attempt is not the current one."""

    code = "no_signin"
    status = HTTPStatus.NOT_FOUND
    message = "there is no such attempt to sign in"


class ConflictError(SandboxdError):
    """The attempt is not in a state for this."""

    code = "conflict"
    status = HTTPStatus.CONFLICT
    message = "the attempt is in another state"


class SigninEndingError(SandboxdError):
    """What an earlier attempt left inside OpenCode is still being ended; that waits for the end of a turn."""

    code = "signin_ending"
    status = HTTPStatus.CONFLICT
    message = "an earlier sign-in is still being ended"
    retry_after: ClassVar[int] = 3

    def body(self) -> dict[str, str | int]:
        """The JSON body of the answer, with the seconds after which it is worth another try."""
        return {**super().body(), "retry_after": self.retry_after}


class MethodUnavailableError(SandboxdError):
    """Where sandboxes share a network they would share OpenCode's listener for the browser's way back, too."""

    code = "method_unavailable"
    status = HTTPStatus.CONFLICT
    message = "signing in by the browser needs a sandbox with a network of its own"


class ProviderUnreachableError(SandboxdError):
    """The provider cannot be reached, or refuses to begin a sign-in."""

    code = "provider_unreachable"
    status = HTTPStatus.BAD_GATEWAY
    message = "the provider cannot be reached, or refuses"


class ProviderSilentError(ProviderUnreachableError):
    """The provider does not answer in time; OpenCode may still be asking."""


class OpenCodeError(SandboxdError):
    """OpenCode gave no usable answer."""

    code = "opencode_error"
    status = HTTPStatus.BAD_GATEWAY
    message = "OpenCode did not answer"


class UnknownOutcomeError(OpenCodeError):
    """OpenCode did not answer, and may do what it was asked for."""


class NotReadyError(SandboxdError):
    """The sandbox is not (or no longer) ready for this."""

    code = "not_ready"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    message = "the sandbox is not ready"


class EndingError(NotReadyError):
    """The sandbox has decided to end, and takes nothing any more: the next one does."""

    code = "ending"
    message = "the sandbox is ending"
