"""A socket's life: the handshake, its messages, its end, and what the function is told of each."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.frames import CloseCode

from local.gateway.apis import CONNECT, DEFAULT, DISCONNECT, Api, Apis
from local.gateway.connections import GOING_AWAY, UNSUPPORTED, Close, Connection, Connections, Identity
from local.gateway.disorder import Place
from local.gateway.errors import (
    ForbiddenError,
    GatewayError,
    IntegrationError,
    LimitExceededError,
    UrlTooLongError,
)
from local.gateway.events import Event, Events
from local.gateway.functions import FunctionsClient
from local.gateway.limits import Limits
from local.gateway.rules import Rules

logger = logging.getLogger(__name__)

MOST_UNDER_WAY = 256
"""Messages of one socket that may be with the function, or wait for it, before the gateway stops to read."""
FAREWELL_SECONDS = 2
"""How long a client has to take what was sent before its close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """Serves sockets."""

    apis: Apis
    functions: FunctionsClient
    connections: Connections
    rules: Rules
    now: Callable[[], float]

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one until its end, and until the function knows of it."""
        try:
            rules = self.rules.changed(websocket.path_params.get("changes", ""))
            if len(str(websocket.url)) > rules.limits.url_characters:
                raise UrlTooLongError
            api = await self.apis.get(websocket.path_params["api_id"], websocket.path_params["stage"])
        except GatewayError as error:
            await _refuse(websocket, error.status, error.message)
            return
        host = websocket.client.host if websocket.client else ""
        connection = Connection(
            api_id=api.api_id,
            stage=websocket.path_params["stage"],
            identity=Identity(host, websocket.headers.get("user-agent")),
            buffer_bytes=rules.limits.buffer_bytes,
            now=self.now,
        )
        events = Events(connection=connection, domain=websocket.headers["host"], now=self.now)
        if await self._connect(websocket, api, events):
            await self._run(websocket, api, events, rules)

    async def _connect(self, websocket: WebSocket, api: Api, events: Events) -> bool:
        """
        Whether the socket is open.

        A status that is not 2xx refuses the handshake with that status, a function that raises with 502: observed on
        AWS. Only a protocol that the function names is agreed on: the developer guide, "Set up a $connect route that
        requires a WebSocket subprotocol".
        """
        answer: dict[str, Any] = {"statusCode": HTTPStatus.OK}
        event = events.connect(websocket.headers, websocket.query_params)
        if CONNECT in api.functions:
            try:
                answer = await self.functions.invoke(api.functions[CONNECT], event)
            except IntegrationError as error:
                await _refuse(websocket, error.status, error.message, event)
                return False
        status = answer["statusCode"]
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            await _refuse(websocket, status, _phrase(status), event)
            return False
        headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        try:
            await websocket.accept(subprotocol=headers.get("sec-websocket-protocol"))
        except (WebSocketDisconnect, OSError):
            # The client gave up meanwhile; the function believes that it is connected.
            await self._tell(api, DISCONNECT, events.disconnect(Close(CloseCode.ABNORMAL_CLOSURE, "")))
            return False
        return True

    async def _run(self, websocket: WebSocket, api: Api, events: Events, rules: Rules) -> None:
        connection, place = events.connection, rules.order()
        self.connections.add(connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(_write(websocket, connection))
                others = [
                    tasks.create_task(self._read(websocket, api, events, place, tasks)),
                    tasks.create_task(self._watch(connection, rules.limits)),
                ]
                close = await connection.ended
                self.connections.remove(connection)
                for other in others:
                    other.cancel()
                if not close.by_client:
                    await asyncio.wait({writer}, timeout=FAREWELL_SECONDS)
                writer.cancel()
                if not close.by_client:
                    await _close(websocket, close)
                async with place():
                    await self._tell(api, DISCONNECT, events.disconnect(close))
        finally:
            self.connections.remove(connection)

    async def _read(
        self, websocket: WebSocket, api: Api, events: Events, place: Place, tasks: asyncio.TaskGroup
    ) -> None:
        """Hand messages over as they come, until the client closes."""
        connection, room = events.connection, asyncio.Semaphore(MOST_UNDER_WAY)
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                connection.end(Close(message["code"], message.get("reason") or "", by_client=True))
                return
            connection.touch()
            if message.get("text") is None:
                # The developer guide, "Binary media types for WebSocket APIs": closed with 1003.
                connection.end(UNSUPPORTED)
                return
            await room.acquire()
            task = tasks.create_task(self._pass_on(api, events, place(), message["text"]))
            task.add_done_callback(lambda _: room.release())

    async def _pass_on(
        self, api: Api, events: Events, place: contextlib.AbstractAsyncContextManager[None], body: str
    ) -> None:
        """
        Have the function act on a message.

        Only when that fails the client hears of it. The answer's status and body go nowhere, as observed on AWS for
        routes without a route response.
        """
        async with place:
            event = events.message(api.route_of(body), body)
            try:
                function = api.functions.get(event["requestContext"]["routeKey"]) or api.functions.get(DEFAULT)
                if function is None:
                    raise ForbiddenError
                await self.functions.invoke(function, event)
            except GatewayError as error:
                logger.warning("a message of %s failed: %s", events.connection.id, error.message)
                with contextlib.suppress(LimitExceededError):
                    events.connection.post(json.dumps({"message": error.message, **_ids(event)}))

    async def _watch(self, connection: Connection, limits: Limits) -> None:
        """End the connection when it was idle, or lived, too long."""
        end_of_life = connection.connected_at + limits.life_seconds
        while True:
            due = min(end_of_life, connection.last_active_at + limits.idle_seconds)
            if (left := due - self.now()) <= 0:
                connection.end(GOING_AWAY)
                return
            await asyncio.sleep(left)

    async def _tell(self, api: Api, route: str, event: Event) -> None:
        if route in api.functions:
            # Best effort, says AWS of this event.
            with contextlib.suppress(IntegrationError):
                await self.functions.invoke(api.functions[route], event)


async def _write(websocket: WebSocket, connection: Connection) -> None:
    """Send what is posted, one after another."""
    with contextlib.suppress(WebSocketDisconnect, OSError):
        while (message := await connection.next()) is not None:
            await websocket.send_text(message)
            connection.sent(message)


async def _close(websocket: WebSocket, close: Close) -> None:
    try:
        async with asyncio.timeout(FAREWELL_SECONDS):
            await websocket.close(close.code, close.reason)
    except TimeoutError:
        websocket.state.abort()
    except (WebSocketDisconnect, OSError, RuntimeError):
        # It closed by itself at the same moment.
        return


async def _refuse(websocket: WebSocket, status: int, message: str, event: Event | None = None) -> None:
    body = {"message": message} | ({} if event is None else _ids(event))
    with contextlib.suppress(WebSocketDisconnect, OSError):
        await websocket.send_denial_response(JSONResponse(body, status))


def _ids(event: Event) -> dict[str, str]:
    return {name: event["requestContext"][name] for name in ("connectionId", "requestId")}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)
