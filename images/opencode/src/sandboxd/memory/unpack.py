"""
Unpacks workspace and database: a program, ``python -m sandboxd.memory.unpack``, that runs as the agent.

Whatever the archive says, it writes below those two places only: each name is gone through from there, directory by
directory, and no link is followed.
"""

import contextlib
import errno
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from sandboxd.memory.archive import CHUNK, DIRECTORY, FILE, ArchiveError, ArchiveReader, Entry, Limits
from sandboxd.memory.database import SIDES, DatabaseError, check_database
from sandboxd.memory.pack import DATABASE, REFUSED, WORKSPACE, arguments

NAME_BYTES = 255
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NO_PLACE = (errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)
"""How Linux says that a name is taken, or is none, or leads through what is no directory, such as a link."""
INTO = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """A directory that is filled; closed in the end."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, INTO)
        self._parent: tuple[list[bytes], int] = ([], self._root)
        self._modes: list[tuple[list[bytes], int]] = []

    def close(self) -> None:
        """Be done: give directories their permissions, the innermost first."""
        for path, mode in reversed(self._modes):
            os.chmod(path[-1], mode, dir_fd=self._into(path[:-1]))
        self._leave()
        os.close(self._root)

    def add(self, entry: Entry, path: list[bytes], archive: ArchiveReader) -> None:
        """
        Make what *entry* says.

        Raises:
            ArchiveError: its place is taken, or no directory of this archive.
        """
        try:
            parent = self._into(path[:-1])
            if entry.kind == DIRECTORY:
                os.mkdir(path[-1], 0o700, dir_fd=parent)
                self._modes.append((path, entry.mode))
            elif entry.kind == FILE:
                write(archive, entry, os.open(path[-1], NEW, 0o600, dir_fd=parent))
            else:
                os.symlink(entry.target, path[-1], dir_fd=parent)
                os.utime(path[-1], (entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
        except OSError as exc:
            if exc.errno not in NO_PLACE:
                raise
            raise ArchiveError(f"no place for an entry: {exc.strerror}") from exc

    def _into(self, path: list[bytes]) -> int:
        known, descriptor = self._parent
        if path == known:
            return descriptor
        self._leave()
        descriptor = self._root
        for name in path:
            inner = os.open(name, INTO, dir_fd=descriptor)
            if descriptor != self._root:
                os.close(descriptor)
            descriptor = inner
        self._parent = (path, descriptor)
        return descriptor

    def _leave(self) -> None:
        _, descriptor = self._parent
        if descriptor != self._root:
            os.close(descriptor)
        self._parent = ([], self._root)


def write(archive: ArchiveReader, entry: Entry, descriptor: int) -> None:
    """Write a file's content, and close it."""
    try:
        left = entry.size
        while left:
            chunk = archive.take(min(left, CHUNK))
            left -= len(chunk)
            while chunk:
                chunk = chunk[os.write(descriptor, chunk) :]
        archive.skip_padding(entry.size)
        os.fchmod(descriptor, entry.mode)
        os.utime(descriptor, (entry.mtime, entry.mtime))
    finally:
        os.close(descriptor)


def unpack(workspace: Path, database: Path, descriptor: int, *, limits: Limits) -> dict[str, int]:
    """
    Fill *workspace*, which is empty, and make *database*, which is not there; return what was made.

    Raises:
        ArchiveError, DatabaseError: the archive is none of ours, or broken; then both are as they were.
    """
    with open(descriptor, "rb", closefd=False) as packed:
        archive = ArchiveReader(packed, limits=limits)
        try:
            _unpack(archive, workspace, database)
            if database.exists():
                check_database(database)
        except BaseException:
            clear(workspace, database)
            raise
    return {"entries": archive.entries, "content": archive.content}


def _unpack(archive: ArchiveReader, workspace: Path, database: Path) -> None:
    with contextlib.closing(Tree(workspace)) as tree:
        while entry := archive.next():
            path = parts(entry.path)
            if path == [DATABASE] and entry.kind == FILE:
                try:
                    descriptor = os.open(database, NEW, 0o600)
                except FileExistsError as exc:
                    raise ArchiveError("a second database") from exc
                write(archive, replace(entry, mode=0o600), descriptor)
            elif path == [WORKSPACE] and entry.kind == DIRECTORY:
                continue
            elif path[0] == WORKSPACE and path[1:]:
                tree.add(entry, path[1:], archive)
            else:
                raise ArchiveError("an entry of another place")


def parts(path: bytes) -> list[bytes]:
    """
    Return the names that a path consists of.

    Raises:
        ArchiveError: it leads anywhere but down.
    """
    names = path.split(b"/")
    if any(name in (b"", b".", b"..") or len(name) > NAME_BYTES or b"\0" in name for name in names):
        raise ArchiveError("a path that leads elsewhere")
    return names


def clear(workspace: Path, database: Path) -> None:
    """Take away what was unpacked."""
    for side in SIDES:
        database.with_name(database.name + side).unlink(missing_ok=True)
    for directory, folders, _ in os.walk(workspace):
        for folder in folders:
            path = Path(directory) / folder
            if not path.is_symlink():
                path.chmod(0o700)
    for entry in os.scandir(workspace):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink()


def main() -> int:
    """Unpack, say what, or why the archive is refused; anything else that goes wrong is not the archive's fault."""
    asked = arguments("unpack")
    os.umask(0o077)
    limits = Limits(content=asked.content, entries=asked.entries)
    try:
        asked.database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        report: dict[str, object] = {**unpack(asked.workspace, asked.database, asked.archive, limits=limits)}
        code = 0
    except (ArchiveError, DatabaseError) as exc:
        report, code = {"refused": str(exc)}, REFUSED
    json.dump(report, sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
