"""Sockets and servers."""

import socket

import httpx
import pytest
from starlette.responses import PlainTextResponse

from sandboxd.listener import bind_socket, listening


def test_connections_send_at_once() -> None:
    """Whatever accepts them: small answers must not wait for acknowledgements."""
    with bind_socket("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.anyio
async def test_a_server_answers_while_it_is_open() -> None:
    """From the first moment (the socket listens already) to the last."""
    sock = bind_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with httpx.AsyncClient(trust_env=False) as client:
        async with listening(PlainTextResponse("here"), sock):
            assert (await client.get(url)).text == "here"
        with pytest.raises(httpx.ConnectError):
            await client.get(url)
