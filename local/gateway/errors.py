"""
What the gateway refuses, in one tree. A message is what AWS says.

* GatewayError                      500  InternalServerError
  + BadRequestError                 400  the gateway's own: other rules were asked for that there are not
  + ForbiddenError                  403  ForbiddenException
  + GoneError                       410  GoneException
  + PayloadTooLargeError            413  PayloadTooLargeException
  + UrlTooLongError                 414
  + LimitExceededError              429  LimitExceededException
  + IntegrationError                502  the function raised, or answered in a form that is none
    - IntegrationRefusedError       500  Lambda did not take the event
    - IntegrationTimeoutError       504

Sources: the API reference of the API Gateway Management API; the developer guide of Lambda, "Handling Lambda errors
with an API Gateway API" (500 against 502).
"""

from http import HTTPStatus
from typing import ClassVar


class GatewayError(Exception):
    """Something is wrong with the gateway itself."""

    code: ClassVar[str] = "InternalServerError"
    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    message: ClassVar[str] = "Internal server error"


class BadRequestError(GatewayError):
    """The address asks for rules that there are not."""

    code = "BadRequestException"
    status = HTTPStatus.BAD_REQUEST
    message = "Bad Request"


class ForbiddenError(GatewayError):
    """There is no such API, stage or route."""

    code = "ForbiddenException"
    status = HTTPStatus.FORBIDDEN
    message = "Forbidden"


class GoneError(GatewayError):
    """There is no such connection: not yet, not any more, or never."""

    code = "GoneException"
    status = HTTPStatus.GONE
    message = "Gone"


class PayloadTooLargeError(GatewayError):
    """More than one message may hold."""

    code = "PayloadTooLargeException"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    message = "Message too long"


class UrlTooLongError(GatewayError):
    """A longer address than a handshake may have."""

    code = "RequestUriTooLongException"
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    message = "Request-URI Too Long"


class LimitExceededError(GatewayError):
    """The client does not read, and its buffer is full."""

    code = "LimitExceededException"
    status = HTTPStatus.TOO_MANY_REQUESTS
    message = "Limit Exceeded"


class IntegrationError(GatewayError):
    """The function raised, or its answer has no status code."""

    status = HTTPStatus.BAD_GATEWAY


class IntegrationRefusedError(IntegrationError):
    """Lambda did not take the event."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class IntegrationTimeoutError(IntegrationError):
    """The function took longer than an integration may; it goes on, but nobody waits for it."""

    code = "GatewayTimeoutException"
    status = HTTPStatus.GATEWAY_TIMEOUT
    message = "Endpoint request timed out"
