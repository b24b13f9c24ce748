"""How an attempt that did not connect is told: an error and a sentence for each end."""

from oauth_proxy.signin import Status
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
