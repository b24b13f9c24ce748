"""
The gateway as an application: sockets, and what functions reach them by, at the embedded AWS's own paths.

A socket that is opened below ``/_with/{changes}`` has rules of its own (``rules.py``).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from local.gateway.apis import Apis
from local.gateway.connections import GOING_AWAY, Connections
from local.gateway.functions import FunctionsClient
from local.gateway.lifeline import Lifeline
from local.gateway.management import Management
from local.gateway.rules import Rules
from local.gateway.sockets import Sockets

STAGE = "/_aws/execute-api/{api_id}/{stage}"


def create_app(
    *,
    apis: Apis,
    functions: FunctionsClient,
    rules: Rules,
    lifeline: Lifeline | None = None,
    now: Callable[[], float] = time.time,
) -> Starlette:
    """
    The gateway.

    Args:
        apis: knows which function answers which route.
        functions: invokes them.
        rules: what holds for sockets that ask for nothing else.
        lifeline: watches the embedded AWS. With that all sockets end: no function is left to answer them, and a
            client that comes back finds out where it stands.
        now: epoch seconds.

    """
    connections = Connections()
    sockets = Sockets(apis=apis, functions=functions, connections=connections, rules=rules, now=now)
    management = Management(connections=connections, limits=rules.limits)

    def on_death() -> None:
        apis.forget()
        connections.end_all(GOING_AWAY)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(lifeline.watch(on_death)) if lifeline is not None else None
            yield
            if watching is not None:
                watching.cancel()

    async def health(_request: Request) -> Response:
        return JSONResponse({"ok": True})

    return Starlette(
        routes=[
            WebSocketRoute(STAGE, sockets.serve),
            WebSocketRoute("/_with/{changes}" + STAGE, sockets.serve),
            Route(STAGE + "/@connections/{id}", management.answer, methods=["POST", "GET", "DELETE"]),
            Route("/_local/health", health),
        ],
        lifespan=lifespan,
        # A foreign name that resolves to loopback must not reach the functions.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )
