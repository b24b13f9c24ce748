"""Which HTTP status an error has; the socket needs them too, and starts without what serves HTTP."""

from http import HTTPStatus

from threadbox.errors import (
    AppError,
    ConflictError,
    ForbiddenError,
    HistoryUnavailableError,
    InvalidRequestError,
    NotFoundError,
    OpenCodeError,
    RateLimitedError,
    SandboxUnavailableError,
    SigninAbandonedError,
    SigninPendingError,
    SigninTimedOutError,
    TooLargeError,
    UnauthorizedError,
    VaultUnavailableError,
    VaultUnreadableError,
)

HTTP_STATUS: dict[type[AppError], HTTPStatus] = {
    InvalidRequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    OpenCodeError: HTTPStatus.BAD_GATEWAY,
    SandboxUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    VaultUnreadableError: HTTPStatus.SERVICE_UNAVAILABLE,
    VaultUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    HistoryUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    SigninPendingError: HTTPStatus.GATEWAY_TIMEOUT,
    SigninTimedOutError: HTTPStatus.GATEWAY_TIMEOUT,
    SigninAbandonedError: HTTPStatus.GONE,
    AppError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def http_status(error: AppError) -> HTTPStatus:
    """Return the HTTP status of the nearest class in the error's ancestry."""
    return next(HTTP_STATUS[cls] for cls in type(error).__mro__ if cls in HTTP_STATUS)
