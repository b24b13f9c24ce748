"""
The page and the small backend that every web app of this kind has: it knows its user (here: a cookie) and gives out
session tokens for that user.

* ``GET /``             the built page (``webapp/dist``)
* ``GET /config.json``  ``{"http_url", "ws_url", "idp_url", "demo_model"}``; null: the real provider
* ``POST /session``     ``{"thread"}`` -> ``{"token", "expires_at"}``, the latter in epoch seconds
"""

import argparse
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import jwt
import uvicorn
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.stack.stack_file import StackFile
from threadbox.identifiers import ThreadId
from threadbox.secrets import JsonSecret
from threadbox.sessions import AUDIENCE, LONGEST_LIFE

DIST = Path(__file__).parent.parent / "webapp" / "dist"
COOKIE = "threadbox_user"
COOKIE_SECONDS = 365 * 24 * 3600
LARGEST_BODY = 4096
SECRET_SECONDS = 60

SigningKey = Callable[[], Mapping[str, str]]
"""Gives the current key for session tokens, ``{"kid", "key"}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the parts of the stack answer, as the browser sees them."""

    http_url: str
    ws_url: str
    web_url: str
    idp_url: str | None = None


class SessionRequest(BaseModel):
    """The body of ``POST /session``."""

    thread: ThreadId


class SecurityHeaders:
    """Adds headers that let the page load and call nothing but what it is made of."""

    def __init__(self, app: ASGIApp, *, connect: tuple[str, ...]) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": (
                f"default-src 'self'; connect-src 'self' {' '.join(connect)}; object-src 'none'; base-uri 'none'; "
                "form-action 'self'; frame-ancestors 'none'"
            ),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                # Built files carry a hash of their content in their name; everything else may change.
                lasting = scope["path"].startswith("/assets/") and message["status"] == HTTPStatus.OK
                headers["Cache-Control"] = "public, max-age=31536000, immutable" if lasting else "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers)


def create_app(
    *,
    addresses: Addresses,
    signing_key: SigningKey,
    dist: Path,
    demo_model: bool = False,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """
    The page's server.

    Args:
        addresses: what the page is told, and may connect to.
        signing_key: asked for every token; expected to cache.
        dist: the built page.
        demo_model: whether no real model answers.
        clock: epoch seconds.

    """

    async def config(_: Request) -> Response:
        told = {"http_url": addresses.http_url, "ws_url": addresses.ws_url, "idp_url": addresses.idp_url}
        return JSONResponse({**told, "demo_model": demo_model})

    async def session(request: Request) -> Response:
        if not is_same_site(request, addresses.web_url):
            return failure(HTTPStatus.FORBIDDEN, "forbidden", "Only the page itself may ask for a session.")
        try:
            thread = SessionRequest.model_validate_json(await body_of(request)).thread
        except ValidationError:
            message = "The body must be {thread}, an id of 1 to 128 letters, digits, _ or -."
            return failure(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", message)
        try:
            key = await run_in_threadpool(signing_key)
        except (BotoCoreError, ClientError):
            return failure(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The embedded AWS does not answer.")
        user = request.cookies.get(COOKIE) or secrets.token_urlsafe(16)
        now = int(clock())
        claims = {"aud": AUDIENCE, "thread_id": thread, "user_id": user, "iat": now, "exp": now + LONGEST_LIFE}
        token = jwt.encode(claims, key["key"], algorithm="HS256", headers={"kid": key["kid"]})
        answer = JSONResponse({"token": token, "expires_at": now + LONGEST_LIFE})
        answer.set_cookie(COOKIE, user, max_age=COOKIE_SECONDS, httponly=True, samesite="lax")
        return answer

    return Starlette(
        routes=[
            Route("/config.json", config, methods=["GET"]),
            Route("/session", session, methods=["POST"]),
            Mount("/", StaticFiles(directory=dist, html=True)),
        ],
        middleware=[
            Middleware(SecurityHeaders, connect=(origin(addresses.http_url), origin(addresses.ws_url))),
            # A foreign name that resolves to loopback must not reach the backend as if it were the page.
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
        ],
    )


def origin(url: str) -> str:
    """Scheme, host and port of *url*."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def is_same_site(request: Request, web_url: str) -> bool:
    """Whether the page itself asks, or something that is no browser."""
    asking = request.headers.get("origin")
    return asking is None or asking in {origin(web_url), origin(web_url).replace("//127.0.0.1", "//localhost")}


async def body_of(request: Request) -> bytes:
    """The request's body, cut where it gets too large to be one of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            break
    return body


def failure(status: HTTPStatus, code: str, message: str) -> Response:
    """An error as the product's own APIs answer it."""
    return JSONResponse({"ok": False, "code": code, "message": message}, status)


def main() -> None:
    """Serve on loopback until told to stop."""
    parser = argparse.ArgumentParser(prog="local.web", description="the page and its backend")
    parser.add_argument("--state", type=Path, required=True, help="the stack.json of a deployed stack")
    parser.add_argument("--port", type=int, help="instead of the one in stack.json")
    parser.add_argument("--demo-model", action="store_true", help="no real model answers, and the page says so")
    options = parser.parse_args()
    stack = StackFile.model_validate_json(options.state.read_text())
    client = boto3.client(
        "secretsmanager",
        endpoint_url=stack.aws_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the embedded AWS takes any
        config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2}),
    )
    secret = JsonSecret(client=client, arn=stack.outputs["SessionSecretArn"], max_age=SECRET_SECONDS)
    addresses = Addresses(http_url=stack.http_url, ws_url=stack.ws_url, web_url=stack.web_url, idp_url=stack.idp_url)
    app = create_app(addresses=addresses, signing_key=secret.current, dist=DIST, demo_model=options.demo_model)
    uvicorn.run(app, host="127.0.0.1", port=options.port or stack.ports["web"], log_level="warning")


if __name__ == "__main__":
    main()
