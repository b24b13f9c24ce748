"""
Everything that can go wrong, in one tree.

* AppError                       internal
  + InvalidRequestError          invalid_request
  + UnauthorizedError            unauthorized
  + ForbiddenError               forbidden
  + NotFoundError                not_found
  + ConflictError                conflict
    - TurnTakenError             turn_taken
    - StaleGenerationError       stale_generation
  + TooLargeError                too_large
  + RateLimitedError             rate_limited
  + OpenCodeError                opencode_error
    - SandboxLostError           sandbox_lost
    - ModelError                 model_failed
      . ModelUnauthorizedError   model_unauthorized
      . ModelRateLimitedError    model_rate_limited
      . ModelUnknownError        model_unknown
  + SandboxUnavailableError      sandbox_unavailable
"""

from typing import ClassVar


class AppError(Exception):
    """The request failed in a way its caller may be told about."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, retry_after: int | None = None, **details: str | int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.details = details


class InvalidRequestError(AppError):
    """The request does not fit its model."""

    code = "invalid_request"


class UnauthorizedError(AppError):
    """There is no valid session token."""

    code = "unauthorized"


class ForbiddenError(AppError):
    """The token is valid, but not for this thread."""

    code = "forbidden"


class NotFoundError(AppError):
    """There is no such thing."""

    code = "not_found"


class ConflictError(AppError):
    """The state of things does not allow it."""

    code = "conflict"


class TurnTakenError(ConflictError):
    """Another request, or another function, holds the turn."""

    code = "turn_taken"


class StaleGenerationError(ConflictError):
    """The sandbox meant by the caller is not the thread's current one."""

    code = "stale_generation"


class TooLargeError(AppError):
    """The body or message is over its limit."""

    code = "too_large"


class RateLimitedError(AppError):
    """Too many requests; ``retry_after`` says when to come again."""

    code = "rate_limited"


class OpenCodeError(AppError):
    """OpenCode, or the sandbox around it, answered with an error or not at all."""

    code = "opencode_error"


class SandboxLostError(OpenCodeError):
    """The sandbox went away in the middle of an answer."""

    code = "sandbox_lost"


class ModelError(OpenCodeError):
    """The model failed, after OpenCode tried it again where that can help."""

    code = "model_failed"


class ModelUnauthorizedError(ModelError):
    """The model's provider does not accept the key, or the account may not use the model."""

    code = "model_unauthorized"


class ModelRateLimitedError(ModelError):
    """The model's provider refuses further requests for now."""

    code = "model_rate_limited"


class ModelUnknownError(ModelError):
    """There is no such model."""

    code = "model_unknown"


class SandboxUnavailableError(AppError):
    """There is no running sandbox, and one could not be started in time."""

    code = "sandbox_unavailable"
