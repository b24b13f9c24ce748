"""
What a command reads and prints, in files of our own.

asyncio's pipes will not do: it takes a process for ended only when nobody holds the other ends, which the agent may
have given to whomever it likes; and they would be sandboxd's user's, so that the agent could not open ``/dev/stderr``.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from sandboxd.agent_home import AgentHome


@dataclass(frozen=True, slots=True)
class Pipe:
    """``reader`` has what is written to ``descriptor``, which is the child's and to be closed here once it has it."""

    descriptor: int
    reader: asyncio.StreamReader


@asynccontextmanager
async def pipe(home: AgentHome) -> AsyncIterator[Pipe]:
    """A pipe to read from, whose other end is the agent's; when this is left nothing is read any more."""
    reader = asyncio.StreamReader()
    readable, writable = os.pipe()
    file = os.fdopen(readable, "rb", buffering=0)
    try:
        if home.second_user:
            os.fchown(writable, home.uid, home.gid)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), file
        )
    except BaseException:
        file.close()
        os.close(writable)
        raise
    try:
        yield Pipe(writable, reader)
    finally:
        transport.close()


@contextmanager
def input_of(content: bytes | None) -> Iterator[int]:
    """A descriptor to read *content* from, as much of it as one likes; None: nothing."""
    if content is None:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    else:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        if content is not None:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(content)
            os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
