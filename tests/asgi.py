"""Requests to an ASGI application, without a server."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@dataclass(frozen=True)
class AsgiClient:
    """Calls one application."""

    app: "ASGIApp"

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the application's answer."""
        return asyncio.run(self._request(method, path, options))

    async def _request(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)
