"""The server: uvicorn, with API Gateway's limits on frames, for which it has no settings."""

import asyncio
from typing import ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode

from local.gateway.limits import Limits

CLOSING_SECONDS = 10
LOOPBACK = "127.0.0.1"


def server(app: ASGIApp, limits: Limits, *, port: int) -> uvicorn.Server:
    """The server of *app* on loopback; port 0 is any free one."""
    config = uvicorn.Config(
        app,
        host=LOOPBACK,
        port=port,
        # Not lower: each line about a handshake holds its token.
        log_level="warning",
        ws=type("OurWebSocket", (LimitedWebSocket,), {"limits": limits}),
        # API Gateway neither compresses nor pings; it answers pings.
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


class LimitedWebSocket(WebSocketsSansIOProtocol):
    """A connection that a frame or message over its limits closes with 1009."""

    limits: ClassVar[Limits]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn.max_message_size = self.limits.message_bytes
        self.conn.max_fragment_size = self.limits.frame_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": self.transport.abort}

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application sends."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            # A refusal is an answer, too; it would be logged as an error.
            self.handshake_complete = True

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self.conn.parser_exc is None:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """Close, with the reason."""
        # Closing at once would discard what the client has still under way, and with it, by a reset, the close
        # frame that tells it why. So only this side is shut, and the rest is read and thrown away.
        assert self.conn.close_sent is not None  # noqa: S101 - set whenever there is an exception
        close = self.conn.close_sent
        self.handle_events()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code, "reason": close.reason})
        self.close_sent = True
        if self.transport.is_closing():
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSING_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self.handshake_complete and not self.close_sent and self.conn.close_rcvd is None:
            # It broke: nobody said goodbye.
            self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.ABNORMAL_CLOSURE})
        super().connection_lost(exc)
