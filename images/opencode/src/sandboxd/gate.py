"""
The gate every call passes before anything else looks at it, the body's parser included.

It is ASGI middleware and not a dependency of the routes, so that a route added later cannot forget it.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandboxd.errors import ForbiddenError, InvalidRequestError, SandboxdError, TooLargeError, UnauthorizedError
from sandboxd.tokens import Claims, TokenVerifier

_ID = "[A-Za-z0-9_-]+"
BIND = ("POST", "/sandboxd/bind")
USE_ROUTES: Mapping[str, re.Pattern[str]] = {
    "turn": re.compile(
        "GET /sandboxd/(status|health|events)"
        "|POST /sandboxd/session"
        f"|POST /session/{_ID}/(prompt_async|abort)"
        f"|DELETE /session/{_ID}/message/{_ID}"
        f"|GET /session/({_ID}|status|{_ID}/message|{_ID}/message/{_ID})"
        f"|POST /permission/{_ID}/reply"
        f"|POST /question/{_ID}/(reply|reject)"
    ),
    "signin": re.compile(
        "GET /sandboxd/(status|health)"
        "|POST /sandboxd/signin"
        f"|(GET|DELETE) /sandboxd/signin/{_ID}"
        f"|GET /sandboxd/signin/{_ID}/tokens"
        f"|POST /sandboxd/signin/{_ID}/(callback|accept|redirect)"
    ),
}
"""What a use token opens, matched whole against ``METHOD path``."""

OTHER_PLACES = frozenset(("directory", "workspace"))
"""Query parameters by which OpenCode would work elsewhere than in the one workspace."""


class Binding(Protocol):
    """Whom the sandbox serves; both None before bind."""

    @property
    def thread_id(self) -> str | None:
        """The thread."""

    @property
    def generation(self) -> int | None:
        """The generation of its sandbox."""


class CallGate:
    """ASGI middleware: lets a call through with its claims in ``scope["state"]``, or answers 401, 403 or 413."""

    def __init__(self, app: ASGIApp, *, verifier: TokenVerifier, binding: Binding, body_bytes: int) -> None:
        self._app = app
        self._verifier = verifier
        self._binding = binding
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; of those that are not plain HTTP none is served."""
        if scope["type"] != "http":
            return
        try:
            claims = self._verifier.verify(_bearer(scope))
            if claims.scope == "control":
                receive = await self._check_control(claims, scope, receive)
            else:
                self._check_use(claims, scope)
        except SandboxdError as exc:
            await JSONResponse(exc.body(), exc.status)(scope, receive, send)
            return
        scope.setdefault("state", {})["claims"] = claims
        await self._app(scope, receive, send)

    async def _check_control(self, claims: Claims, scope: Scope, receive: Receive) -> Receive:
        """Read the whole body, hold the call against the claims, return a receive that plays the body again."""
        path = _raw_path(scope)
        # bind says for itself whom the sandbox serves, so that a second one gets a 409 that can be told from a 403.
        if (scope["method"], path) != BIND:
            self._check_binding(claims)
        if (claims.method, claims.path) != (scope["method"], path):
            raise ForbiddenError
        body = await _read(receive, self._body_bytes)
        if claims.body != hashlib.sha256(body).hexdigest():
            raise ForbiddenError
        self._verifier.spend(claims)
        return _replay(body, receive)

    def _check_use(self, claims: Claims, scope: Scope) -> None:
        if self._binding.thread_id is None:
            raise ForbiddenError
        self._check_binding(claims)
        path, _, query = _raw_path(scope).partition("?")
        asked = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
        if not USE_ROUTES[claims.scope].fullmatch(f"{scope['method']} {path}") or asked & OTHER_PLACES:
            raise ForbiddenError

    def _check_binding(self, claims: Claims) -> None:
        bound = (self._binding.thread_id, self._binding.generation)
        if bound not in ((None, None), (claims.thread, claims.gen)):
            raise ForbiddenError


def _bearer(scope: Scope) -> str:
    scheme, _, token = HTTPConnection(scope).headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorizedError
    return token.strip()


def _raw_path(scope: Scope) -> str:
    """Path and query as they came over the wire: what was signed, not what a router makes of it."""
    path: str = scope["raw_path"].decode("latin-1")
    query: str = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequestError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise TooLargeError
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
