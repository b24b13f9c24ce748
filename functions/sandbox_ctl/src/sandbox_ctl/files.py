"""Files in a thread's sandbox."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel

from sandbox_ctl.workspaces import WorkspaceClient, workspace_path
from threadbox.errors import InvalidRequestError

FILE_BYTES = 4 * 1024 * 1024
"""What fits into a call, and into an answer of a function (6 MB, of which base64 takes a quarter)."""
SECONDS = 20


class Entry(BaseModel):
    """One name in a directory. Sizes are bytes, times epoch seconds."""

    name: str
    type: Literal["file", "directory", "symlink", "other"]
    size: int
    modified_at: int


class Listing(BaseModel):
    """A directory, by name; ``truncated``: there are more entries than these."""

    path: str
    entries: list[Entry]
    truncated: bool


class Stored(BaseModel):
    """A file as it was written."""

    path: str
    size: int


class Removed(BaseModel):
    """Whether there was anything to remove."""

    removed: bool


def checked(path: str) -> str:
    """
    Return *path*.

    Raises:
        InvalidRequestError: there can be none like it inside a workspace.
    """
    try:
        return workspace_path(path)
    except ValueError as exc:
        raise InvalidRequestError(str(exc)) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class FileService:
    """Reads and writes them."""

    workspaces: WorkspaceClient

    def get(self, thread_id: str, path: str) -> bytes:
        """
        Return a file.

        Raises:
            NoFileError, PathConflictError, TooLargeError: there is none, or it is no file, or too large.
            AppError: as ``WorkspaceClient.send``.
        """
        way = f"{_way(path)}?limit={FILE_BYTES}"
        return self.workspaces.send(thread_id, "GET", way, seconds=SECONDS).content

    def put(self, thread_id: str, path: str, content: bytes) -> Stored:
        """
        Put a file there, in the place of the one that is, all at once.

        Raises:
            PathConflictError, NoSpaceError: it cannot be there.
            AppError: as ``WorkspaceClient.send``.
        """
        return self.workspaces.call(thread_id, "PUT", _way(path), Stored, content, seconds=SECONDS)

    def delete(self, thread_id: str, path: str, *, recursive: bool) -> Removed:
        """
        Remove a file or directory; one that is not empty only if *recursive*.

        Raises:
            PathConflictError: it cannot be removed.
            AppError: as ``WorkspaceClient.send``.
        """
        way = f"{_way(path)}?recursive={'true' if recursive else 'false'}"
        return self.workspaces.call(thread_id, "DELETE", way, Removed, seconds=SECONDS)

    def list_directory(self, thread_id: str, path: str) -> Listing:
        """
        Return what is in a directory; "" is the workspace.

        Raises:
            NoFileError, PathConflictError: there is none, or it is none.
            AppError: as ``WorkspaceClient.send``.
        """
        way = f"/sandboxd/list/{quote(checked(path))}"
        return self.workspaces.call(thread_id, "GET", way, Listing, seconds=SECONDS)


def _way(path: str) -> str:
    if not path:
        raise InvalidRequestError("a file's path is needed")
    return f"/sandboxd/files/{quote(checked(path))}"
