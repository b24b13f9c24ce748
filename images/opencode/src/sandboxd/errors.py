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
  + NoExecError                no_exec
  + NoFileError                no_file
  + PathConflictError          path_conflict
  + NoSpaceError               no_space
  + TooManyExecsError          too_many_execs
  + CheckoutFailedError        checkout_failed
  + TransferFailedError        transfer_failed
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


class NoExecError(SandboxdError):
    """There is no command with this id, or not any more."""

    code = "no_exec"
    status = HTTPStatus.NOT_FOUND
    message = "there is no such command"


class NoFileError(SandboxdError):
    """There is nothing at this path."""

    code = "no_file"
    status = HTTPStatus.NOT_FOUND
    message = "there is no such file"


class PathConflictError(SandboxdError):
    """What is at this path does not allow it: a symbolic link, a directory or none, something that is no file."""

    code = "path_conflict"
    status = HTTPStatus.CONFLICT
    message = "what is at this path does not allow it"


class NoSpaceError(SandboxdError):
    """The disk is full."""

    code = "no_space"
    status = HTTPStatus.INSUFFICIENT_STORAGE
    message = "there is no space left"


class TooManyExecsError(SandboxdError):
    """As many commands run as may."""

    code = "too_many_execs"
    status = HTTPStatus.TOO_MANY_REQUESTS
    message = "too many commands run at once"


class CheckoutFailedError(SandboxdError):
    """Git could not have the commit; ``reason`` says why, in one of few words."""

    code = "checkout_failed"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    message = "the repository could not be checked out"

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def body(self) -> dict[str, str | int]:
        """The JSON body of the answer."""
        return {**super().body(), "reason": self.reason}


class TransferFailedError(SandboxdError):
    """The bucket did not take or give the file."""

    code = "transfer_failed"
    status = HTTPStatus.BAD_GATEWAY
    message = "the file could not be transferred"


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
