"""HTTP connections that the application can break off, as a host does that goes down."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class BreakableConnection(H11Protocol):
    """Gives each request ``state.abort``, which ends its connection without a word."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
