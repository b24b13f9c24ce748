"""
A CONNECT proxy: the provider's hosts end at the local one, every other host is reached as it is.

    OpenCode ── CONNECT auth.openai.com:443 ──▶ TLS with a certificate of the local authority ──▶ the local provider
             ── CONNECT registry.npmjs.org:443 ──────────────────────────────────────────────────▶ that host
"""

import asyncio
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

HEAD_BYTES = 16 * 1024
HEAD_SECONDS = 10.0
CONNECT_SECONDS = 10.0
PIECE_BYTES = 64 * 1024


class RefusedError(Exception):
    """The proxy does not do what it was asked to; its text is an HTTP status line without the protocol."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        The address that ``host:port`` or ``[v6]:port`` means.

        Raises:
            ValueError: it means none.

        """
        host, _, port = text.rpartition(":")
        if not host or not 0 < int(port) < 1 << 16:
            raise ValueError(text)
        return cls(host.removeprefix("[").removesuffix("]").lower(), int(port))


class ConnectProxy:
    """The proxy; ``async with`` it."""

    def __init__(self, *, port: int, ours: Collection[Address], context: ssl.SSLContext, provider: Address) -> None:
        """Take the hosts that end here, how to speak TLS as them, and who answers for them."""
        self._wanted_port = port
        self._ours = ours
        self._context = context
        self._provider = provider
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._wanted_port, limit=HEAD_BYTES)
        return self

    async def __aexit__(self, *_details: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        # Not for the server to be closed: TLS would wait for the other side's goodbye.
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        port: int = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                target = await read_target(reader)
                far_reader, far_writer = await self._reach(target)
            except RefusedError as refusal:
                writer.write(f"HTTP/1.1 {refusal}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
                await writer.drain()
                return
            try:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                if target in self._ours:
                    await writer.start_tls(self._context, ssl_handshake_timeout=CONNECT_SECONDS)
                async with asyncio.TaskGroup() as directions:
                    directions.create_task(pump(reader, far_writer))
                    directions.create_task(pump(far_reader, writer))
            finally:
                far_writer.close()
        except* OSError:
            # One side is gone; that is how connections end.
            pass
        finally:
            writer.close()

    async def _reach(self, target: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = self._provider if target in self._ours else target
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(address.host, address.port)
        except TimeoutError as error:
            raise RefusedError("504 Gateway Timeout") from error
        except OSError as error:
            raise RefusedError("502 Bad Gateway") from error


async def read_target(reader: asyncio.StreamReader) -> Address:
    """
    What the request that begins a connection wants to be connected to.

    Raises:
        RefusedError: it is no CONNECT, not an HTTP request, or takes too long.

    """
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target, _version = head.partition(b"\r\n")[0].decode("ascii").split(" ")
        if method != "CONNECT":
            raise RefusedError("405 Method Not Allowed")
        return Address.parse(target)
    except TimeoutError as error:
        raise RefusedError("408 Request Timeout") from error
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise RefusedError("400 Bad Request") from error


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, and in the end that it has ended."""
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        # TLS has no half of a connection to close.
        writer.close()
