"""Listening: a socket, and a uvicorn server on it that runs inside our own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

LINGER_SECONDS = 1


class _Server(uvicorn.Server):
    """A server that leaves signals to sandboxd, which runs two of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind_socket(host: str, port: int) -> socket.socket:
    """
    Return a TCP socket that listens there; port 0 takes a free one.

    Its connections send at once. asyncio sees to that for sockets of its own only: without it each small answer waits
    some 40 ms for the other side's acknowledgement.

    Raises:
        OSError: the address cannot be had.
    """
    sock = socket.create_server((host, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, sock: socket.socket) -> AsyncIterator[None]:
    """Serve *app* on *sock*; at the end, answers under way have a second to finish."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=LINGER_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield
    finally:
        server.should_exit = True
        await task
