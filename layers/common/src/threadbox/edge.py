"""Where errors become answers over HTTP; on a socket their text is shown as it is."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from threadbox.errors import AppError, InvalidRequestError, NotFoundError, TooLargeError
from threadbox.statuses import http_status
from threadbox.telemetry import logger

INTERNAL = AppError("Something went wrong on our side. Please try again.")


class ErrorBody(BaseModel):
    """The one shape every error answer has."""

    ok: Literal[False] = False
    code: str = Field(description="one of those in docs/errors.md")
    message: str = Field(description="a sentence for a person")
    thread_id: str | None
    request_id: str
    details: dict[str, str | int]


_BEARER = HTTPBearer(auto_error=False, scheme_name="session", description="a session token")


def _bearer_token(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> str:
    return credentials.credentials if credentials else ""


BearerToken = Annotated[str, Depends(_bearer_token)]
"""The token of a request's ``Authorization: Bearer`` header, or "" when there is none."""


def error_response(error: AppError, request: Request) -> JSONResponse:
    """Return *error* as the answer to *request*."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    body = ErrorBody(
        code=error.code,
        message=str(error),
        thread_id=request.path_params.get("thread"),
        request_id=request_id(request),
        details=error.details,
    )
    return JSONResponse(body.model_dump(), status_code=http_status(error), headers=headers)


def request_id(request: Request) -> str:
    """Return the Lambda request id that Mangum carries in the ASGI scope."""
    return str(getattr(request.scope.get("aws.context"), "aws_request_id", ""))


def create_http_app(*, title: str, version: str, max_body: int = 4 * 1024 * 1024) -> FastAPI:
    """Return a FastAPI app whose every failure has the one error shape. API Gateway answers CORS in front of it."""
    app = FastAPI(
        title=title,
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )

    @app.exception_handler(AppError)
    async def app_error(request: Request, error: AppError) -> Response:
        return error_response(error, request)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        return error_response(InvalidRequestError(problems), request)

    @app.exception_handler(HTTPException)
    async def http_exception(request: Request, error: HTTPException) -> Response:
        if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            return error_response(NotFoundError("There is nothing at this address."), request)
        return error_response(InvalidRequestError(str(error.detail)), request)

    @app.middleware("http")
    async def boundary(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if int(request.headers.get("content-length") or 0) > max_body:
            return error_response(TooLargeError("The body is too large.", limit=max_body), request)
        try:
            return await call_next(request)
        except Exception:  # noqa: BLE001 - the one boundary: what nobody foresaw is logged, and answered without its cause
            logger.exception("unhandled", path=request.url.path)
            return error_response(INTERNAL, request)

    return app
