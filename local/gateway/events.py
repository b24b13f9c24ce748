"""
The events that the functions get.

Shapes as in "Integrate API Gateway WebSocket APIs with Lambda proxy" of the developer guide and as functions on AWS
have logged them: only ``$connect`` and ``$disconnect`` carry headers, only ``$connect`` a query string, only messages a
body and a message id.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, QueryParams

from local.gateway.apis import CONNECT, DISCONNECT
from local.gateway.connections import Close, Connection, new_id

Event = dict[str, Any]
_HOP_BY_HOP = {"connection", "upgrade"}
_REASONS = {1001: "Going away", 1005: "Client-side close frame status not set"}
"""What AWS says when the client gave no reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Makes the events of one connection."""

    connection: Connection
    domain: str
    now: Callable[[], float]

    def connect(self, headers: Headers, query: QueryParams) -> Event:
        """The handshake; of a parameter that was given more than once the last value counts."""
        sent = {_canonical(name): headers.getlist(name) for name in headers if name not in _HOP_BY_HOP}
        sent |= {
            "X-Amzn-Trace-Id": [f"Root=1-{int(self.now()):08x}-{secrets.token_hex(12)}"],
            "X-Forwarded-For": [self.connection.identity.source_ip],
            "X-Forwarded-Port": ["443"],
            "X-Forwarded-Proto": ["https"],
        }
        event = _with_headers(sent) | {"requestContext": self._context(CONNECT, "CONNECT"), "isBase64Encoded": False}
        if query:
            event["queryStringParameters"] = dict(query)
            event["multiValueQueryStringParameters"] = {name: query.getlist(name) for name in query}
        return event

    def message(self, route: str, body: str) -> Event:
        """A message."""
        context = self._context(route, "MESSAGE") | {"messageId": new_id()}
        return {"requestContext": context, "body": body, "isBase64Encoded": False}

    def disconnect(self, close: Close) -> Event:
        """The end, which the function learns afterwards."""
        context = self._context(DISCONNECT, "DISCONNECT")
        context |= {
            "disconnectStatusCode": int(close.code),
            "disconnectReason": close.reason or _REASONS.get(close.code, ""),
        }
        sent = {"Host": [self.domain], "x-api-key": [""], "X-Forwarded-For": [""], "x-restapi": [""]}
        return _with_headers(sent) | {"requestContext": context, "isBase64Encoded": False}

    def _context(self, route: str, event_type: str) -> Event:
        now = self.now()
        request_id = new_id()
        identity = {"sourceIp": self.connection.identity.source_ip}
        if self.connection.identity.user_agent is not None:
            identity["userAgent"] = self.connection.identity.user_agent
        return {
            "routeKey": route,
            "eventType": event_type,
            "extendedRequestId": request_id,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "messageDirection": "IN",
            "stage": self.connection.stage,
            "connectedAt": int(self.connection.connected_at * 1000),
            "requestTimeEpoch": int(now * 1000),
            "identity": identity,
            "requestId": request_id,
            "domainName": self.domain,
            "connectionId": self.connection.id,
            "apiId": self.connection.api_id,
        }


def _canonical(name: str) -> str:
    return "-".join("WebSocket" if word == "websocket" else word.capitalize() for word in name.lower().split("-"))


def _with_headers(headers: dict[str, list[str]]) -> Event:
    return {"headers": {name: values[-1] for name, values in headers.items()}, "multiValueHeaders": headers}
