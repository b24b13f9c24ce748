"""
Files of the workspace, in a process that has become the agent and lives for one of them.

On its standard input comes a line of JSON (a ``Job``), then the bytes that are to be written; on its standard output
go a line of JSON (a ``Report``), then the bytes that were read. Standard library only: it is started for every file.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO, TypedDict

from sandboxd import agent_user, paths

PIECE_BYTES = 256 * 1024
MOST_ENTRIES = 5000
PRIVATE = 0o600
CONFLICTS = frozenset(
    (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EACCES, errno.EPERM, errno.ENXIO)
)
MISSING = frozenset((errno.ENOENT,))
FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
# A path may have come to be nothing at all, or its name may not be one to this file system.
WRONG = frozenset((errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG))


class Job(TypedDict):
    """
    What to do with ``path``, a list of names below ``workspace``.

    ``size``: how many bytes come behind a ``put``; ``limit``: how many there may be for a ``get``.
    """

    operation: str
    workspace: str
    path: list[str]
    uid: int
    gid: int
    limit: int
    size: int
    recursive: bool


class Report(TypedDict, total=False):
    """What was done; or ``failed``, and why."""

    failed: str
    size: int
    modified_at: int
    removed: bool
    entries: list[dict[str, str | int]]
    truncated: bool


class RefusedError(Exception):
    """It is not done, for a reason that has a name."""


def main(_: Sequence[str]) -> None:
    """Do the job that standard input brings."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    job: Job = json.loads(source.readline())
    agent_user.become(job["uid"], job["gid"])
    try:
        OPERATIONS[job["operation"]](job, source, sink)
    except RefusedError as exc:
        _report(sink, {"failed": str(exc)})
    except OSError as exc:
        _report(sink, {"failed": _reason(exc)})


def get(job: Job, _: BinaryIO, sink: BinaryIO) -> None:
    """Report a file's size, then send that many of its bytes, or fewer if it shrinks meanwhile."""
    with _parent(job) as (directory, name):
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise RefusedError("conflict")
        if found.st_size > job["limit"]:
            raise RefusedError("too_large")
        _report(sink, {"size": found.st_size, "modified_at": int(found.st_mtime)})
        left = found.st_size
        while left and (piece := file.read(min(left, PIECE_BYTES))):
            sink.write(piece)
            left -= len(piece)
        sink.flush()


def put(job: Job, source: BinaryIO, sink: BinaryIO) -> None:
    """Put what comes in the place of the file, all at once: whoever looks sees the old one or the new one."""
    with _parent(job, create=True) as (directory, name):
        mode = PRIVATE
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISREG(there.st_mode):
                raise RefusedError("conflict")
            mode = stat.S_IMODE(there.st_mode) & 0o777
        temporary = f".{secrets.token_hex(8)}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, PRIVATE, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                _copy(source, file, job["size"])
                os.fchmod(descriptor, mode)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
    _report(sink, {"size": job["size"]})


def delete(job: Job, _: BinaryIO, sink: BinaryIO) -> None:
    """Remove what is there: a link and not what it leads to, a directory with all below it only if ``recursive``."""
    try:
        with _parent(job) as (directory, name):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=directory)
            elif job["recursive"]:
                # It follows no links either, and works below descriptors.
                shutil.rmtree(name, dir_fd=directory)
            else:
                os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        _report(sink, {"removed": False})
        return
    _report(sink, {"removed": True})


def list_directory(job: Job, _: BinaryIO, sink: BinaryIO) -> None:
    """Report what is in a directory."""
    entries: list[dict[str, str | int]] = []
    with paths.directory(job["workspace"], job["path"]) as directory, os.scandir(directory) as found:
        for entry in islice(found, MOST_ENTRIES + 1):
            # It may be gone by now.
            with contextlib.suppress(FileNotFoundError):
                entries.append(_entry(entry))
    entries.sort(key=lambda entry: str(entry["name"]))
    _report(sink, {"entries": entries[:MOST_ENTRIES], "truncated": len(entries) > MOST_ENTRIES})


def make_directory(job: Job, _: BinaryIO, sink: BinaryIO) -> None:
    """Make the directory, and those above it."""
    with paths.directory(job["workspace"], job["path"], create=True):
        _report(sink, {})


OPERATIONS = {"get": get, "put": put, "delete": delete, "list": list_directory, "make_directory": make_directory}


@contextlib.contextmanager
def _parent(job: Job, *, create: bool = False) -> Iterator[tuple[int, str]]:
    if not job["path"]:
        raise RefusedError("conflict")
    *above, name = job["path"]
    with paths.directory(job["workspace"], above, create=create) as directory:
        yield directory, name


def _copy(source: BinaryIO, file: BinaryIO, size: int) -> None:
    left = size
    while left and (piece := source.read(min(left, PIECE_BYTES))):
        left -= len(piece)
        view = memoryview(piece)
        while view:
            view = view[file.write(view) :]
    if left or source.read(1):
        raise RefusedError("incomplete")


def _entry(entry: os.DirEntry[str]) -> dict[str, str | int]:
    found = entry.stat(follow_symlinks=False)
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    return {
        # What is no text shows as something that it is not; there is no way to ask for it either.
        "name": entry.name.encode(errors="surrogateescape").decode(errors="replace"),
        "type": kinds.get(stat.S_IFMT(found.st_mode), "other"),
        "size": found.st_size,
        "modified_at": int(found.st_mtime),
    }


def _reason(error: OSError) -> str:
    for reason, numbers in (("conflict", CONFLICTS), ("missing", MISSING), ("full", FULL), ("wrong", WRONG)):
        if error.errno in numbers:
            return reason
    raise error


def _report(sink: BinaryIO, report: Report) -> None:
    sink.write(json.dumps(report).encode() + b"\n")
    sink.flush()
