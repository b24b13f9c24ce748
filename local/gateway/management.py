"""
``@connections``: what functions reach sockets by.

* ``POST``    sends the body as one message
* ``GET``     ``{connectedAt, lastActiveAt, identity}``
* ``DELETE``  closes

Source: the API reference of the API Gateway Management API. A connection whose ``$connect`` has not returned is not
there yet: 410 (AWS re:Post, "How do I troubleshoot 410 GoneException errors with my API Gateway WebSocket API?").
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.gateway.connections import DELETED, Connections
from local.gateway.errors import GatewayError, PayloadTooLargeError
from local.gateway.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """Answers requests about connections."""

    connections: Connections
    limits: Limits

    async def answer(self, request: Request) -> Response:
        """Answer one."""
        try:
            body = await self._body(request)
            connection = self.connections.get(*(request.path_params[name] for name in ("api_id", "stage", "id")))
            if request.method == "GET":
                identity = connection.identity
                return JSONResponse(
                    {
                        "connectedAt": _time(connection.connected_at),
                        "lastActiveAt": _time(connection.last_active_at),
                        "identity": {"sourceIp": identity.source_ip, "userAgent": identity.user_agent or ""},
                    }
                )
            if request.method == "DELETE":
                connection.end(DELETED)
                return Response(status_code=HTTPStatus.NO_CONTENT)
            connection.post(body.decode(errors="replace"))
        except GatewayError as error:
            return JSONResponse({"message": error.message}, error.status, headers={"x-amzn-ErrorType": error.code})
        return Response(media_type="application/json")

    async def _body(self, request: Request) -> bytes:
        """The body, read to its end even if it is too large: a client that still sends would not get the answer."""
        pieces, size = [], 0
        async for piece in request.stream():
            size += len(piece)
            if size <= self.limits.message_bytes:
                pieces.append(piece)
        if size > self.limits.message_bytes:
            raise PayloadTooLargeError
        return b"".join(pieces)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
