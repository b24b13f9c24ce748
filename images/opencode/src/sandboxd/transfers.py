"""
Files that are too large for a call, on their way to and from a bucket.

sandboxd has no credentials: where to read or write it is told by URLs that let it do that one thing. None is told on.
"""

import logging
from collections.abc import AsyncIterator
from http import HTTPStatus

import httpx

from sandboxd.errors import NoFileError, TooLargeError, TransferFailedError
from sandboxd.files import PIECE_BYTES, Files
from sandboxd.orders import Stored, Transfer

logger = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(10, connect=5)


class Transfers:
    """Moves them, within the time that a file may take."""

    def __init__(self, files: Files, client: httpx.AsyncClient) -> None:
        self._files = files
        self._client = client

    async def send(self, transfer: Transfer) -> Stored:
        """
        Put a file of the workspace where the URL leads.

        Raises:
            TransferFailedError: it is not taken there.
            SandboxdError: as ``Files.opened``.
        """
        async with self._files.opened(transfer.path, limit=transfer.limit) as file:
            headers = {"content-length": str(file.size)}
            try:
                answer = await self._client.put(
                    transfer.url.get_secret_value(), content=file.content, headers=headers, timeout=TIMEOUT
                )
            except (httpx.HTTPError, httpx.InvalidURL) as exc:
                raise _failed(exc) from None
        if answer.status_code != HTTPStatus.OK:
            logger.warning("a bucket answers %s", answer.status_code)
            raise TransferFailedError
        return Stored(path=transfer.path, size=file.size)

    async def fetch(self, transfer: Transfer) -> Stored:
        """
        Put what is where the URL leads into the workspace.

        Raises:
            NoFileError: there is nothing there.
            TooLargeError: it has more bytes than may be.
            TransferFailedError: it does not come, or not whole.
            SandboxdError: as ``Files.put``.
        """
        try:
            url = transfer.url.get_secret_value()
            async with self._client.stream("GET", url, headers=UNCHANGED, timeout=TIMEOUT) as answer:
                # A bucket says 403 to whoever may not list what there is.
                if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
                    raise NoFileError("nothing was uploaded")
                size = answer.headers.get("content-length", "")
                if answer.status_code != HTTPStatus.OK or not size.isdecimal():
                    logger.warning("a bucket answers %s", answer.status_code)
                    raise TransferFailedError
                if int(size) > transfer.limit:
                    raise TooLargeError("the file is too large")
                return await self._files.put(transfer.path, _pieces(answer), size=int(size))
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise _failed(exc) from None


UNCHANGED = {"accept-encoding": "identity"}


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    async for piece in answer.aiter_raw(PIECE_BYTES):
        yield piece


def _failed(error: Exception) -> TransferFailedError:
    # Only what it is: its text may hold the URL.
    logger.warning("a transfer failed: %s", type(error).__name__)
    return TransferFailedError()
