"""Files of the workspace, each handled by a child process that is the agent (``file_worker``)."""

import asyncio
import contextlib
import json
import logging
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from sandboxd import paths
from sandboxd.agent_home import AgentHome
from sandboxd.children import Children
from sandboxd.errors import (
    InvalidRequestError,
    NoFileError,
    NoSpaceError,
    NotReadyError,
    PathConflictError,
    SandboxdError,
    TooLargeError,
)
from sandboxd.file_worker import Job, Report
from sandboxd.orders import Listing, Removed, Stored
from sandboxd.patience import in_time

logger = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
READING, WRITING = "reading", "writing"
"""What a sandbox is busy with then."""
# A listing of as many long names as there may be.
REPORT_BYTES = 8 * 1024 * 1024
MOST_BYTES = 2**40
TAKING_BACK_SECONDS = 1
FAILURES: dict[str, Callable[[], SandboxdError]] = {
    "missing": NoFileError,
    "conflict": PathConflictError,
    "too_large": partial(TooLargeError, "the file is too large"),
    "full": NoSpaceError,
    "wrong": partial(InvalidRequestError, "there can be no file of this name"),
    "incomplete": partial(InvalidRequestError, "the file is not whole"),
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is being read; ``content`` yields ``size`` bytes, and fails if they do not all come."""

    size: int
    modified_at: int
    content: AsyncIterator[bytes]


class Files:
    """What can be done with them. *busy* is entered meanwhile."""

    def __init__(
        self,
        *,
        home: AgentHome,
        children: Children,
        parallel: int,
        seconds: float,
        busy: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._home = home
        self._children = children
        self._places = asyncio.Semaphore(parallel)
        self._seconds = seconds
        self._busy = busy

    @asynccontextmanager
    async def opened(self, path: str, *, limit: int = MOST_BYTES) -> AsyncIterator[Opened]:
        """
        Open a file to be read.

        Raises:
            NoFileError, PathConflictError: there is none, or it is no file.
            TooLargeError: it has more than *limit* bytes.
            NotReadyError: it takes too long.
        """
        async with self._worker(self._job("get", path, limit=limit)) as process:
            _close(process)
            report = await _report(process)
            size = report["size"]
            yield Opened(size, report["modified_at"], _content(process, size))

    async def get(self, path: str, *, limit: int) -> tuple[bytes, int]:
        """
        Return a file of at most *limit* bytes, and when it was modified (epoch seconds).

        Raises:
            As ``opened``.
        """
        async with self.opened(path, limit=limit) as file:
            return b"".join([piece async for piece in file.content]), file.modified_at

    async def put(self, path: str, content: AsyncIterator[bytes], *, size: int) -> Stored:
        """
        Put a file of *size* bytes there, whole or not at all; directories above it are made.

        Raises:
            PathConflictError: what is there, or above it, is a link, or not what it must be.
            NoSpaceError: there is no room for it.
            InvalidRequestError: there come not *size* bytes.
            NotReadyError: it takes too long.
        """
        async with self._worker(self._job("put", path, size=size)) as process:
            assert process.stdin is not None  # noqa: S101 - it is a pipe, by construction
            # One that refuses says so without having read to the end.
            with contextlib.suppress(ConnectionError):
                async for piece in content:
                    process.stdin.write(piece)
                    await process.stdin.drain()
            _close(process)
            return Stored(path=path, size=(await _report(process))["size"])

    async def delete(self, path: str, *, recursive: bool) -> Removed:
        """
        Remove a file, a link, or a directory: one that is not empty only if *recursive*.

        Raises:
            PathConflictError: it cannot be.
        """
        async with self._worker(self._job("delete", path, recursive=recursive)) as process:
            _close(process)
            return Removed(removed=(await _report(process))["removed"])

    async def list(self, path: str) -> Listing:
        """
        Return what is in a directory.

        Raises:
            NoFileError, PathConflictError: there is none, or it is none.
        """
        async with self._worker(self._job("list", path)) as process:
            _close(process)
            report = await _report(process)
            return Listing.model_validate({"path": path, **report})

    async def make_directory(self, path: str) -> None:
        """
        Make a directory and those above it, unless it is there.

        Raises:
            PathConflictError: something else is.
        """
        async with self._worker(self._job("make_directory", path)) as process:
            _close(process)
            await _report(process)

    def _job(self, operation: str, path: str, *, limit: int = 0, size: int = 0, recursive: bool = False) -> Job:
        try:
            names = paths.parse(path)
        except paths.PathError as exc:
            raise InvalidRequestError(str(exc)) from exc
        return Job(
            operation=operation,
            workspace=str(self._home.workspace),
            path=list(names),
            uid=self._home.uid if self._home.second_user else 0,
            gid=self._home.gid,
            limit=limit,
            size=size,
            recursive=recursive,
        )

    @asynccontextmanager
    async def _worker(self, job: Job) -> AsyncIterator[Process]:
        """A child that does the job; it is gone, and has done nothing by halves, when this is left."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                await self._places.acquire()
        except TimeoutError:
            raise NotReadyError from None
        try:
            with self._busy(READING if job["operation"] in ("get", "list") else WRITING):
                process = await self._children.start(
                    "sandboxd.file_worker", stdin=PIPE, stdout=PIPE, stderr=None, limit=REPORT_BYTES
                )
                assert process.stdin is not None  # noqa: S101 - it is a pipe, by construction
                try:
                    async with asyncio.timeout(max(self._seconds - (time.monotonic() - begun), 1)):
                        with contextlib.suppress(ConnectionError):
                            process.stdin.write(json.dumps(job).encode() + b"\n")
                            await process.stdin.drain()
                        yield process
                        await self._children.wait(process)
                finally:
                    await asyncio.shield(self._end(process))
        except TimeoutError:
            raise NotReadyError("the file takes too long") from None
        except OSError as exc:
            logger.warning("a file cannot be handled: %s", exc)
            raise NotReadyError("there is no process to be had") from exc
        finally:
            self._places.release()

    async def _end(self, process: Process) -> None:
        """End it: at the end of its input, when one that has not written all of a file takes back what it has."""
        _close(process)
        await in_time(self._children.wait(process), TAKING_BACK_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await self._children.wait(process)


def _close(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()


async def _report(process: Process) -> Report:
    assert process.stdout is not None  # noqa: S101 - it is a pipe, by construction
    line = await process.stdout.readline()
    try:
        report: Report = json.loads(line)
    except ValueError:
        logger.warning("a file's worker ended without a word")
        raise SandboxdError from None
    if failed := report.get("failed"):
        failure = FAILURES[failed]
        raise failure()
    return report


async def _content(process: Process, size: int) -> AsyncIterator[bytes]:
    assert process.stdout is not None  # noqa: S101 - it is a pipe, by construction
    left = size
    while left:
        piece = await process.stdout.read(min(left, PIECE_BYTES))
        if not piece:
            raise PathConflictError("the file has changed while it was read")
        left -= len(piece)
        yield piece
