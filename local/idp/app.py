"""
The provider as an application: the wire, the pages, and what tests order and read.

* ``POST /faults``    what goes wrong (``local.idp.faults``)
* ``POST /settings``  how long access tokens live (``local.idp.settings``)
* ``GET /journal``    what was called (``local.idp.journal``)
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.demo.answers import Sleep
from local.idp.authority import secret_key
from local.idp.authorize_page import AuthorizePage
from local.idp.device_codes import DeviceCodes
from local.idp.device_page import DevicePage
from local.idp.faults import FaultOrder, Faults
from local.idp.grants import Grants
from local.idp.journal import Journal
from local.idp.pages import STYLE_ROUTE
from local.idp.responses import Models
from local.idp.settings import Settings, SettingsOrder
from local.idp.tokens import TokenSigner
from local.idp.wire import ISSUER, Wire

HOSTS = ("auth.openai.com", "chatgpt.com")
"""The provider's own, which the proxy brings here."""


def create_app(
    *,
    directory: Path,
    account_id: str,
    interval: int,
    access_seconds: int,
    delay: float,
    now: Callable[[], float] = time.time,
    sleep: Sleep = asyncio.sleep,
) -> Starlette:
    """
    The provider.

    Args:
        directory: keeps the key that signs tokens, and what was granted.
        account_id: the account that approves unless another is named.
        interval: how many seconds apart a program is told to poll.
        access_seconds: how long an access token is good for, unless something else is ordered.
        delay: seconds between two words of a model.
        now: epoch seconds.
        sleep: waits that many seconds.

    """
    codes = DeviceCodes(now=now)
    key = secret_key(directory, "token-key")
    settings = Settings(access_seconds=access_seconds)
    signer = TokenSigner(key=key, issuer=ISSUER, settings=settings, now=now)
    grants = Grants(signer, file=directory / "grants.json", now=now)
    faults, journal = Faults(), Journal(now=now)
    wire = Wire(
        codes=codes,
        grants=grants,
        models=Models(delay=delay, sleep=sleep),
        faults=faults,
        journal=journal,
        interval=interval,
    )

    async def order_fault(request: Request) -> Response:
        faults.order(FaultOrder.model_validate_json(await request.body()))
        return Response(status_code=204)

    async def order_settings(request: Request) -> Response:
        settings.order(SettingsOrder.model_validate_json(await request.body()))
        return Response(status_code=204)

    async def refuse_order(_request: Request, error: Exception) -> Response:
        return JSONResponse({"message": str(error)}, 422)

    async def read_journal(_request: Request) -> Response:
        return JSONResponse(journal.entries())

    async def health(_request: Request) -> Response:
        return JSONResponse({"ok": True})

    return Starlette(
        routes=[
            *wire.routes,
            *DevicePage(codes, account_id=account_id).routes,
            *AuthorizePage(grants, account_id=account_id).routes,
            STYLE_ROUTE,
            Route("/faults", order_fault, methods=["POST"]),
            Route("/settings", order_settings, methods=["POST"]),
            Route("/journal", read_journal),
            Route("/health", health),
        ],
        exception_handlers={ValidationError: refuse_order},
        # A foreign name that resolves to loopback must not reach the pages.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", *HOSTS])],
    )
