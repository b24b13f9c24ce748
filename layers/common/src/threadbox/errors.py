"""
Everything that can go wrong, in one tree.

* AppError                       internal
  + InvalidRequestError          invalid_request
    - CheckoutFailedError        checkout_failed
  + UnauthorizedError            unauthorized
  + ForbiddenError               forbidden
    - SigninDeniedError          signin_denied
    - SandboxNotEnabledError     sandbox_not_enabled
  + NotFoundError                not_found
    - NoSigninError              no_signin
    - NoExecError                no_exec
    - NoFileError                no_file
  + ConflictError                conflict
    - TurnTakenError             turn_taken
    - StaleGenerationError       stale_generation
    - SigninCancelledError       signin_cancelled
    - SigninSupersededError      signin_superseded
    - SigninEndingError          signin_ending
    - AccountMismatchError       account_mismatch
    - MethodUnavailableError     method_unavailable
    - ReconnectRequiredError     reconnect_required
    - PathConflictError          path_conflict
    - NoSpaceError               no_space
  + TooLargeError                too_large
  + RateLimitedError             rate_limited
  + OpenCodeError                opencode_error
    - SandboxLostError           sandbox_lost
    - ProviderUnreachableError   provider_unreachable
    - TransferFailedError        transfer_failed
    - ModelError                 model_failed
      . ModelUnauthorizedError   model_unauthorized
      . ModelRateLimitedError    model_rate_limited
      . ModelUnknownError        model_unknown
  + SandboxUnavailableError      sandbox_unavailable
    - RolloutUnreadableError     rollout_unreadable
  + VaultUnreadableError         vault_unreadable
  + VaultUnavailableError        vault_unavailable
  + HistoryUnavailableError      history_unavailable
  + SigninPendingError           signin_pending
  + SigninTimedOutError          signin_timed_out
  + SigninAbandonedError         signin_abandoned
"""

from typing import ClassVar


class AppError(Exception):
    """The request failed; as no more than that, by a fault of ours, of whose cause nothing is told."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, retry_after: int | None = None, **details: str | int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.details = details


class InvalidRequestError(AppError):
    """The request does not fit its model."""

    code = "invalid_request"


class CheckoutFailedError(InvalidRequestError):
    """Git could not check out what was asked for; ``details.reason`` says why in a word (docs/control.md)."""

    code = "checkout_failed"


class UnauthorizedError(AppError):
    """There is no valid session token."""

    code = "unauthorized"


class ForbiddenError(AppError):
    """The token is valid, but not for this thread."""

    code = "forbidden"


class SigninDeniedError(ForbiddenError):
    """The provider did not let the user in: refused, expired or limited, which its answers do not tell apart."""

    code = "signin_denied"


class SandboxNotEnabledError(ForbiddenError):
    """The operators let this user have no new sandbox just now; one that runs goes on."""

    code = "sandbox_not_enabled"


class NotFoundError(AppError):
    """There is no such thing."""

    code = "not_found"


class NoSigninError(NotFoundError):
    """The thread has no such sign-in."""

    code = "no_signin"


class NoExecError(NotFoundError):
    """There is no such command, or not any more: it ended long ago, or with its sandbox."""

    code = "no_exec"


class NoFileError(NotFoundError):
    """There is no file, or no directory, at this path of the workspace."""

    code = "no_file"


class ConflictError(AppError):
    """The state of things does not allow it."""

    code = "conflict"


class TurnTakenError(ConflictError):
    """Another request, or another function, holds the turn."""

    code = "turn_taken"


class StaleGenerationError(ConflictError):
    """The sandbox meant by the caller is not the thread's current one."""

    code = "stale_generation"


class SigninCancelledError(ConflictError):
    """The sign-in was called off."""

    code = "signin_cancelled"


class SigninSupersededError(ConflictError):
    """Another sign-in took the place of this one."""

    code = "signin_superseded"


class SigninEndingError(ConflictError):
    """The sandbox is still ending an earlier sign-in; ``retry_after`` says when to come again."""

    code = "signin_ending"


class AccountMismatchError(ConflictError):
    """Another account than before was signed in, and the user had not said that it should replace that one."""

    code = "account_mismatch"


class MethodUnavailableError(ConflictError):
    """The sandbox cannot offer this way to sign in."""

    code = "method_unavailable"


class ReconnectRequiredError(ConflictError):
    """The provider takes the thread's grant no longer; its user has to sign in again."""

    code = "reconnect_required"


class PathConflictError(ConflictError):
    """What is at this path of the workspace, or above it, does not allow it: a link, a directory or none."""

    code = "path_conflict"


class NoSpaceError(ConflictError):
    """The sandbox's disk is full."""

    code = "no_space"


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


class ProviderUnreachableError(OpenCodeError):
    """The identity provider cannot be reached from the sandbox, or refuses to begin a sign-in."""

    code = "provider_unreachable"


class TransferFailedError(OpenCodeError):
    """A file could not be moved between the sandbox and the bucket; nothing of it was put into its place."""

    code = "transfer_failed"


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


class RolloutUnreadableError(SandboxUnavailableError):
    """Who may have a sandbox cannot be read just now, and no new one is started without; one that runs goes on."""

    code = "rollout_unreadable"


class VaultUnreadableError(AppError):
    """The thread's grant is stored, and cannot be opened; it stays stored, and nothing starts without it."""

    code = "vault_unreadable"


class VaultUnavailableError(AppError):
    """There is no key to seal a grant with just now; nothing was stored."""

    code = "vault_unavailable"


class HistoryUnavailableError(AppError):
    """A message too large for an item cannot be read, stored or deleted just now; trying again is enough."""

    code = "history_unavailable"


class SigninPendingError(AppError):
    """The sign-in goes on, but this request has waited as long as it may; asking again joins it."""

    code = "signin_pending"


class SigninTimedOutError(AppError):
    """The sign-in was not completed in time."""

    code = "signin_timed_out"


class SigninAbandonedError(AppError):
    """Nobody watched the sign-in any more, so it was called off."""

    code = "signin_abandoned"
