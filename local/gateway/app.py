"""The gateway as an application: sockets, and what functions reach them by, at the embedded AWS's own paths."""

import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from local.gateway.apis import Apis
from local.gateway.connections import Connections
from local.gateway.disorder import Place, in_order
from local.gateway.functions import FunctionsClient
from local.gateway.limits import Limits
from local.gateway.management import Management
from local.gateway.sockets import Sockets

STAGE = "/_aws/execute-api/{api_id}/{stage}"


def create_app(
    *,
    apis: Apis,
    functions: FunctionsClient,
    limits: Limits,
    order: Callable[[], Place] = in_order,
    now: Callable[[], float] = time.time,
) -> Starlette:
    """
    The gateway.

    Args:
        apis: knows which function answers which route.
        functions: invokes them.
        limits: what a socket may.
        order: gives each socket the order in which its events go to the function.
        now: epoch seconds.

    """
    connections = Connections()
    sockets = Sockets(apis=apis, functions=functions, connections=connections, limits=limits, order=order, now=now)
    management = Management(connections=connections, limits=limits)

    async def health(_request: Request) -> Response:
        return JSONResponse({"ok": True})

    return Starlette(
        routes=[
            WebSocketRoute(STAGE, sockets.serve),
            Route(STAGE + "/@connections/{id}", management.answer, methods=["POST", "GET", "DELETE"]),
            Route("/_local/health", health),
        ],
        # A foreign name that resolves to loopback must not reach the functions.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )
