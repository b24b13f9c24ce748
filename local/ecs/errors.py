"""
What ECS refuses, in one tree; a code is the name of the exception that boto3 raises.

* EcsError                     ServerException
  + ClientError                ClientException
  + InvalidParameterError      InvalidParameterException
  + ConflictError              ConflictException
  + ThrottlingError            ThrottlingException
"""

from http import HTTPStatus
from typing import ClassVar


class EcsError(Exception):
    """Something went wrong on the server's side."""

    code: ClassVar[str] = "ServerException"
    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR


class ClientError(EcsError):
    """The request names something that is not there or may not be used."""

    code = "ClientException"
    status = HTTPStatus.BAD_REQUEST


class InvalidParameterError(EcsError):
    """The request itself is not right."""

    code = "InvalidParameterException"
    status = HTTPStatus.BAD_REQUEST


class ConflictError(EcsError):
    """The client token was used before, with other parameters."""

    code = "ConflictException"
    status = HTTPStatus.BAD_REQUEST


class ThrottlingError(EcsError):
    """Too many requests."""

    code = "ThrottlingException"
    status = HTTPStatus.BAD_REQUEST
