"""A gateway in this process, whose functions are those of the test."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any
from urllib.parse import unquote

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import ClientError
from websockets.sync.client import ClientConnection, connect

from local.gateway.apis import Apis
from local.gateway.app import create_app
from local.gateway.disorder import in_order
from local.gateway.functions import FunctionsClient
from local.gateway.lifeline import Lifeline
from local.gateway.limits import Limits
from local.gateway.rules import Rules
from local.gateway.server import server
from tests.waiting import eventually

API, STAGE = "api-1", "live"
Event = dict[str, Any]
Function = Callable[[Event], Awaitable[Any]]


class ApiGatewayV2:
    """Answers as boto3's client for a deployed API does."""

    def __init__(self, *routes: str) -> None:
        self._routes = routes

    def get_api(self, *, ApiId: str) -> Event:  # noqa: N803 - boto3's name
        if ApiId != API:
            raise ClientError({"Error": {"Code": "NotFoundException"}}, "GetApi")
        return {"RouteSelectionExpression": "$request.body.type"}

    def get_stages(self, **_: str) -> Event:
        return {"Items": [{"StageName": STAGE}]}

    def get_routes(self, **_: str) -> Event:
        return {"Items": [{"RouteKey": key, "Target": "integrations/one"} for key in self._routes]}

    def get_integrations(self, **_: str) -> Event:
        function = "arn:aws:lambda:us-east-1:000000000000:function:socket"
        uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
        return {"Items": [{"IntegrationId": "one", "IntegrationUri": uri}]}


@dataclass
class LambdaApi:
    """Lambda's API, as far as to invoke one function; keeps the events."""

    function: Function
    events: list[Event] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        found = re.fullmatch("/2015-03-31/functions/(.+)/invocations", request.url.path)
        assert found is not None
        assert unquote(found[1]) == "socket"
        assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256")
        event = json.loads(request.content)
        self.events.append(event)
        answer = await self.function(event)
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json=answer)

    def of(self, event_type: str) -> list[Event]:
        return [event for event in self.events if event["requestContext"]["eventType"] == event_type]


@dataclass(frozen=True)
class Gateway:
    """A running one."""

    port: int
    functions: LambdaApi

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}/_aws/execute-api/{API}/{STAGE}"

    def connect(self, query: str = "", *, changes: str = "", **options: Any) -> ClientConnection:
        address = self.address.replace("/", f"/_with/{changes}/", 1) if changes else self.address
        return connect(f"ws://{address}{query}", compression=None, ping_interval=None, **options)

    def management(self) -> Any:
        return boto3.client(
            "apigatewaymanagementapi",
            endpoint_url=f"http://{self.address}",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def connection_id(self) -> str:
        """Of the socket that was opened last, once it is open."""
        connection_id: str = self.functions.of("CONNECT")[-1]["requestContext"]["connectionId"]
        return connection_id

    def disconnected(self) -> Event:
        """The first ``$disconnect``."""
        (event, *_) = eventually(lambda: self.functions.of("DISCONNECT"))
        context: Event = event["requestContext"]
        return context


async def fine(event: Event) -> Event:
    return {"statusCode": 200}


@contextmanager
def gateway(
    function: Function = fine,
    *,
    routes: tuple[str, ...] = ("$connect", "$disconnect", "$default"),
    order: Callable[[], Any] = in_order,
    lifeline: Lifeline | None = None,
    **limits: Any,
) -> Iterator[Gateway]:
    """A gateway with those limits, and one function behind all its routes."""
    ours = Limits(**limits)
    api = LambdaApi(function)
    http = httpx.AsyncClient(transport=httpx.MockTransport(api), base_url="http://aws")
    functions = FunctionsClient(http=http, seconds=ours.integration_seconds)
    app = create_app(
        apis=Apis(ApiGatewayV2(*routes)), functions=functions, rules=Rules(limits=ours, order=order), lifeline=lifeline
    )
    serving = server(app, ours, port=0)
    thread = Thread(target=lambda: asyncio.run(serving.serve()))
    thread.start()
    try:
        eventually(lambda: serving.started)
        (listening,) = serving.servers
        yield Gateway(listening.sockets[0].getsockname()[1], api)
    finally:
        serving.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()
