"""
Paths inside the workspace, walked so that they cannot lead out of it.

Each name is opened below the directory before it, and none may be a symbolic link. What the agent moves or links
meanwhile changes nothing of what is open already, so there is nothing between a check and its use. For the child
processes that are the agent: the standard library only.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence

PATH_BYTES = 4096
NAME_BYTES = 255


class PathError(ValueError):
    """There can be no such path inside the workspace."""


def parse(path: str) -> tuple[str, ...]:
    """
    Return the names that *path*, relative to the workspace, consists of; none for the workspace itself.

    Raises:
        PathError: it is absolute, leads upwards, has an empty name, a NUL, or is too long.
    """
    if not path:
        return ()
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise PathError("a path is text") from None
    if b"\0" in encoded:
        raise PathError("a path has no NUL")
    if len(encoded) > PATH_BYTES:
        raise PathError("the path is too long")
    names = tuple(path.split("/"))
    if any(name in ("", ".", "..") for name in names):
        raise PathError("a path is relative to the workspace, without empty names, '.' and '..'")
    if any(len(name.encode()) > NAME_BYTES for name in names):
        raise PathError("a name in the path is too long")
    return names


@contextlib.contextmanager
def directory(root: str, names: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """
    Open the directory that *names* lead to below *root*; *create*: make those that are missing.

    Raises:
        OSError: ``ELOOP`` or ``ENOTDIR`` where one of them is a symbolic link or no directory, ``ENOENT`` if missing.
    """
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=current)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(name, flags, dir_fd=current)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)
