"""
What can be made to go wrong, ordered by tests over ``POST /faults``.

* ``slow``: the answer comes ``seconds`` late, unless the caller leaves before; then nothing has been done.
* ``429``, ``500``, ``garbage``: that answer, and nothing has been done.
* ``down``: the connection is cut, and nothing has been done.
* ``lost``: the request is handled (a refresh token is used up, say), then the connection is cut instead of an answer.
"""

import asyncio
from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from local.idp.journal import Endpoint

Mode = Literal["ok", "slow", "429", "500", "garbage", "down", "lost"]
RETRY_AFTER_SECONDS = 1


class FaultOrder(BaseModel):
    """The body of ``POST /faults``. It replaces what was ordered for the endpoint; ``ok`` takes it back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: Endpoint
    mode: Mode
    seconds: float = Field(default=10, gt=0, le=600)
    """How slow ``slow`` is."""
    times: int | None = Field(default=None, ge=1)
    """For how many calls; without it until something else is ordered."""


class Gone(Response):
    """No answer: the caller is not there any more, or was cut off."""

    @classmethod
    def cut(cls, request: Request) -> "Gone":
        """End the connection, as a host that goes away does: without a word."""
        request.state.abort()
        return cls()

    async def __call__(self, _scope: Scope, receive: Receive, _send: Send) -> None:
        """Send nothing, for there is nobody to send it to; the server shall have seen that, or it says something."""
        while (await receive())["type"] != "http.disconnect":
            pass


class Faults:
    """The orders that wait for their call."""

    def __init__(self) -> None:
        self._orders: dict[Endpoint, FaultOrder] = {}

    def order(self, order: FaultOrder) -> None:
        """Make the next calls of that endpoint go wrong."""
        self._orders[order.endpoint] = order

    def due(self, endpoint: Endpoint) -> FaultOrder | None:
        """What shall go wrong with the call that has just come; counts it."""
        order = self._orders.get(endpoint)
        if order is None or order.mode == "ok":
            return None
        if order.times == 1:
            del self._orders[endpoint]
        elif order.times is not None:
            self._orders[endpoint] = order.model_copy(update={"times": order.times - 1})
        return order


async def commit(order: FaultOrder, request: Request) -> Response | None:
    """Let it go wrong before the call is handled; None when it is still to be."""
    if order.mode == "lost":
        return None
    if order.mode == "slow":
        return Gone() if await has_left(request, within=order.seconds) else None
    if order.mode == "down":
        return Gone.cut(request)
    if order.mode == "garbage":
        return Response("<!doctype html><title>{not json", media_type="application/json")
    if order.mode == "429":
        return JSONResponse(
            {"error": {"code": "rate_limit_exceeded", "message": "Too many requests."}},
            HTTPStatus.TOO_MANY_REQUESTS,
            {"retry-after": str(RETRY_AFTER_SECONDS)},
        )
    return JSONResponse(
        {"error": {"code": "server_error", "message": "The server had an error."}}, HTTPStatus.INTERNAL_SERVER_ERROR
    )


async def has_left(request: Request, *, within: float) -> bool:
    """Whether the caller goes away within that many seconds; returns at once when it does."""
    await request.body()
    try:
        async with asyncio.timeout(within):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
