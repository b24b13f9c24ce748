"""The routes of files, for control calls alone."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from sandboxd.orders import Listing, Removed, Stored, Transfer
from sandboxd.sandbox import Sandbox

FILE_BYTES = 8 * 1024 * 1024
BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def file_routes(sandbox: Sandbox) -> APIRouter:
    """Everything under ``/sandboxd`` that is about files of the workspace."""
    router = APIRouter(prefix="/sandboxd")

    @router.get("/files/{path:path}", response_class=Response, responses={200: {"content": BINARY}})
    async def get(path: str, limit: Annotated[int, Query(ge=0, le=FILE_BYTES)] = FILE_BYTES) -> Response:
        """A file's bytes; 413 if there are more than ``limit``."""
        content, modified_at = await sandbox.services.files.get(path, limit=limit)
        return Response(content, media_type="application/octet-stream", headers={"x-modified-at": str(modified_at)})

    @router.put("/files/{path:path}", openapi_extra={"requestBody": {"content": BINARY}})
    async def put(path: str, request: Request) -> Stored:
        """Put a file there, whole or not at all. Directories above it are made."""
        content = await request.body()
        return await sandbox.services.files.put(path, _once(content), size=len(content))

    @router.delete("/files/{path:path}")
    async def delete(path: str, *, recursive: bool = False) -> Removed:
        """Remove a file or a directory; one that is not empty only if that is ``recursive``."""
        return await sandbox.services.files.delete(path, recursive=recursive)

    @router.get("/list/{path:path}")
    async def list_directory(path: str) -> Listing:
        """What is in a directory."""
        return await sandbox.services.files.list(path)

    @router.post("/transfers/out")
    async def send(body: Transfer) -> Stored:
        """Put a file where the URL leads."""
        return await sandbox.services.transfers.send(body)

    @router.post("/transfers/in")
    async def fetch(body: Transfer) -> Stored:
        """Put what is where the URL leads in the place of a file."""
        return await sandbox.services.transfers.fetch(body)

    return router


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
