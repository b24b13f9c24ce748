"""S3, as far as presigned URLs and forms lead: what is posted, and what is read."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import BinaryIO, TypeVar

import httpx

from sandboxd.memory.contract import Upload

T = TypeVar("T")

CHUNK = 256 * 1024
TRIES = 3
PAUSE_SECONDS = 0.5
TIMEOUT = httpx.Timeout(30, connect=5)
MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class StorageError(Exception):
    """S3 cannot be reached, or refuses: the URL may be over."""


class MissingError(StorageError):
    """There is no such object."""


class TooLargeError(StorageError):
    """The object is larger than it may be."""


class StorageClient:
    """Posts and reads, a few times if need be."""

    def __init__(self, http: httpx.AsyncClient, *, pause: float = PAUSE_SECONDS) -> None:
        self._http = http
        self._pause = pause

    async def post(self, upload: Upload, key: str, content: BinaryIO, size: int) -> str:
        """
        Store *size* bytes of *content*, from its beginning, as *key*, and return their SHA-256.

        Raises:
            StorageError: S3 does not take it.
        """
        return await self._repeat(lambda: self._post(upload, key, content, size))

    async def read(self, url: str, limit: int) -> bytes:
        """
        Return an object of at most *limit* bytes.

        Raises:
            MissingError, TooLargeError: there is none, or it is larger.
            StorageError: S3 does not give it.
        """

        async def collect() -> bytes:
            return b"".join([part async for part in self._stream(url, limit)])

        return await self._repeat(collect)

    async def download(self, url: str, into: BinaryIO, limit: int) -> str:
        """
        Write an object of at most *limit* bytes to a file, and return its SHA-256.

        Raises:
            MissingError, TooLargeError: there is none, or it is larger.
            StorageError: S3 does not give it.
        """

        async def write() -> str:
            digest = hashlib.sha256()
            into.seek(0)
            into.truncate()
            async for part in self._stream(url, limit):
                digest.update(part)
                into.write(part)
            into.flush()
            return digest.hexdigest()

        return await self._repeat(write)

    async def _stream(self, url: str, limit: int) -> AsyncIterator[bytes]:
        async with self._http.stream("GET", url, timeout=TIMEOUT) as answer:
            _check(answer.status_code)
            size = 0
            async for part in answer.aiter_raw(CHUNK):
                size += len(part)
                if size > limit:
                    raise TooLargeError("an object is larger than it may be")
                yield part

    async def _post(self, upload: Upload, key: str, content: BinaryIO, size: int) -> str:
        boundary = secrets.token_hex(16)
        fields = {name: value.get_secret_value() for name, value in upload.fields.items()} | {"key": key}
        # What lies behind the file S3 does not read.
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\n'
        tail = f"\r\n--{boundary}--\r\n"
        digest = hashlib.sha256()

        async def body() -> AsyncIterator[bytes]:
            yield head.encode()
            content.seek(0)
            left = size
            while left:
                part = content.read(min(left, CHUNK))
                if not part:
                    raise StorageError("what is to be stored became shorter")
                left -= len(part)
                digest.update(part)
                yield part
            yield tail.encode()

        length = len(head.encode()) + size + len(tail.encode())
        answer = await self._http.post(
            upload.url.get_secret_value(),
            content=body(),
            headers={
                "content-type": f"multipart/form-data; boundary={boundary}",
                "content-length": str(length),
            },
            timeout=TIMEOUT,
        )
        _check(answer.status_code)
        return digest.hexdigest()

    async def _repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                return await call()
            except (MissingError, TooLargeError):
                raise
            except (httpx.HTTPError, StorageError) as exc:
                if attempt == TRIES or isinstance(exc, _RefusedError):
                    # Not what httpx says, for that names the URL.
                    raise StorageError(str(exc) if isinstance(exc, StorageError) else type(exc).__name__) from None
                await asyncio.sleep(self._pause * attempt)
        raise AssertionError("unreachable")


class _RefusedError(StorageError):
    """Asking again changes nothing."""


def _check(status: int) -> None:
    if status in MISSING:
        raise MissingError("there is no such object")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise StorageError(f"S3 answers {status}")
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise _RefusedError(f"S3 refuses: {status}")
