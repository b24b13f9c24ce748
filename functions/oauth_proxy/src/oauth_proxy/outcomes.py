"""How the end of an attempt is told: to its user by an error and a sentence, to operators by a line and metrics."""

from oauth_proxy.signin import Signin, Status
from threadbox.errors import (
    AccountMismatchError,
    AppError,
    OpenCodeError,
    SigninAbandonedError,
    SigninCancelledError,
    SigninDeniedError,
    SigninSupersededError,
    SigninTimedOutError,
)
from threadbox.measures import emit
from threadbox.telemetry import logger

_TOLD: dict[Status, tuple[type[AppError], str]] = {
    Status.DENIED: (SigninDeniedError, "The sign-in was refused, or its code expired. Please start again."),
    Status.TIMED_OUT: (SigninTimedOutError, "The sign-in was not completed in time. Please start again."),
    Status.CANCELLED: (SigninCancelledError, "The sign-in was cancelled."),
    Status.SUPERSEDED: (SigninSupersededError, "Another sign-in took the place of this one."),
    Status.ABANDONED: (SigninAbandonedError, "Nobody waited for the sign-in any more. Please start again."),
    Status.MISMATCH: (
        AccountMismatchError,
        "Another account than before was used. Sign in with that one, or say that this one should replace it.",
    ),
    Status.FAILED: (OpenCodeError, "The sandbox failed during the sign-in. Please start again."),
}


def error_of(status: Status) -> AppError:
    """Return what is raised for an attempt that ended otherwise than connected."""
    error, sentence = _TOLD[status]
    return error(sentence)


def signin_ended(signin: Signin, status: Status, *, now: float) -> None:
    """Tell operators of an attempt that has ended; called by whoever's write has ended it, so once."""
    _ended(signin.thread_id, signin.attempt_id, status, duration_ms=int((now - signin.created_at) * 1000))


def signin_superseded(by: Signin) -> None:
    """Tell operators of the attempt whose place *by* took."""
    _ended(by.thread_id, by.previous_id or "", Status.SUPERSEDED)


def _ended(thread_id: str, attempt_id: str, status: Status, *, duration_ms: int | None = None) -> None:
    outcome = str(status)
    logger.info("signin ended", thread_id=thread_id, attempt_id=attempt_id, outcome=outcome, duration_ms=duration_ms)
    emit({"SignIns": 1}, outcome=outcome)
    emit({"SignInFailures": int(status == Status.FAILED)})
