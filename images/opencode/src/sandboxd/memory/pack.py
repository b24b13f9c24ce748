"""
Packs workspace and database: a program, ``python -m sandboxd.memory.pack``, that runs as the agent.

So it reads what the agent may read and nothing else, whatever the workspace's links lead to.
"""

import argparse
import json
import os
import stat
import sys
import tempfile
from pathlib import Path

from sandboxd.memory.archive import DIRECTORY, FILE, SYMLINK, ArchiveError, ArchiveWriter, Entry, Limits
from sandboxd.memory.database import DatabaseError, copy_database

NICE = 10
REFUSED = 3
DATABASE = b"opencode.db"
WORKSPACE = b"workspace"
CACHES = frozenset((b"node_modules", b"__pycache__", b".venv", b".cache", b".npm", b".tox", b".nox", b".gradle"))
"""Directories by these names, and those with a ``CACHEDIR.TAG`` (https://bford.info/cachedir/), are left out."""
TAG = b"CACHEDIR.TAG"
SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"


class Packer:
    """Adds trees and files to an archive, and counts what it had to leave out because it may not be read."""

    def __init__(self, archive: ArchiveWriter) -> None:
        self._archive = archive
        self.unreadable = 0

    def tree(self, root: bytes, name: bytes) -> None:
        """
        Add what lies below *root* as *name*: links as links, no caches, no sockets or devices.

        Raises:
            ArchiveError: it exceeds a limit.
        """
        # Each directory right before what is in it, so that who unpacks goes down one path at a time.
        ahead = [(root, name)]
        while ahead:
            path, known_as = ahead.pop()
            try:
                entries = list(os.scandir(path))
                status = os.lstat(path)
            except OSError:
                self.unreadable += 1
                continue
            if path != root and _is_cache(entries):
                continue
            self._archive.begin(
                Entry(path=known_as, kind=DIRECTORY, mode=status.st_mode, size=0, mtime=int(status.st_mtime))
            )
            for entry in entries:
                try:
                    self._add(entry, known_as + b"/" + entry.name, ahead)
                except OSError:
                    # Gone since, or closed to its own user.
                    self.unreadable += 1

    def _add(self, entry: os.DirEntry[bytes], name: bytes, ahead: list[tuple[bytes, bytes]]) -> None:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in CACHES:
                ahead.append((entry.path, name))
        elif entry.is_file(follow_symlinks=False):
            self.file(entry.path, name)
        elif entry.is_symlink():
            status = entry.stat(follow_symlinks=False)
            target = os.readlink(entry.path)  # noqa: PTH115 - a path of bytes
            self._archive.begin(
                Entry(path=name, kind=SYMLINK, mode=0o777, size=0, mtime=int(status.st_mtime), target=target)
            )

    def file(self, path: bytes, name: bytes) -> None:
        """
        Add one file.

        Raises:
            OSError: it cannot be opened.
            ArchiveError: it exceeds a limit.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return
            size = status.st_size
            self._archive.begin(Entry(path=name, kind=FILE, mode=status.st_mode, size=size, mtime=int(status.st_mtime)))
            self._archive.content_of(lambda most: os.read(descriptor, most), size)
        finally:
            os.close(descriptor)


def pack(workspace: Path, database: Path, descriptor: int, *, limits: Limits, size: int) -> dict[str, int]:
    """
    Write the archive to *descriptor* and return what it holds.

    Raises:
        ArchiveError: it would exceed a limit.
        DatabaseError: the database cannot be copied.
        OSError: there is no room for it.
    """
    with open(descriptor, "wb", closefd=False) as out, tempfile.TemporaryDirectory() as directory:
        archive = ArchiveWriter(out, limits=limits, size=size)
        packer = Packer(archive)
        if database.exists():
            copy = Path(directory) / "copy"
            copy_database(database, copy)
            packer.file(os.fsencode(copy), DATABASE)
            copy.unlink()
        packer.tree(os.fsencode(workspace), WORKSPACE)
        archive.close()
    return {
        "entries": archive.entries,
        "content": archive.content,
        "size": archive.written,
        "unreadable": packer.unreadable,
    }


def _is_cache(entries: list[os.DirEntry[bytes]]) -> bool:
    return any(_signed(entry) for entry in entries if entry.name == TAG)


def _signed(entry: os.DirEntry[bytes]) -> bool:
    try:
        if not entry.is_file(follow_symlinks=False):
            return False
        with Path(os.fsdecode(entry.path)).open("rb") as tag:
            return tag.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False


def arguments(program: str) -> argparse.Namespace:
    """What both programs of this package are called with; paths are absolute, sizes bytes."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--archive", type=int, required=True, help="the descriptor of the archive")
    parser.add_argument("--size", type=int, required=True, help="how large the archive may be")
    parser.add_argument("--content", type=int, required=True, help="how much it may hold")
    parser.add_argument("--entries", type=int, required=True, help="how many entries")
    return parser.parse_args()


def main() -> int:
    """Pack, say what, or why not."""
    asked = arguments("pack")
    # A turn that runs meanwhile comes first.
    os.nice(NICE)
    limits = Limits(content=asked.content, entries=asked.entries)
    try:
        report: dict[str, object] = {
            **pack(asked.workspace, asked.database, asked.archive, limits=limits, size=asked.size)
        }
        code = 0
    except (ArchiveError, DatabaseError, OSError) as exc:
        report, code = {"refused": str(exc)}, REFUSED
    json.dump(report, sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
