"""
Files that are too large for a call, by way of the bucket.

Nobody but who asked can use the URLs that lead there, each for one object and 15 minutes. Objects are named by the
thread's hash, so that no thread can name another one's; the bucket forgets them after a day.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field, StringConstraints

from sandbox_ctl.files import Stored, checked
from sandbox_ctl.workspaces import WorkspaceClient
from threadbox.errors import InvalidRequestError
from threadbox.identifiers import thread_hash

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PREFIX = "transfers/"
URL_SECONDS = 900
MOST_BYTES = 1024 * 1024 * 1024
SECONDS = 25
BINARY = "application/octet-stream"
UploadId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Download(BaseModel):
    """Where a file can be fetched, by GET, without the session token."""

    download_url: str
    size: int
    expires_in: int


class Upload(BaseModel):
    """Where to PUT a file, without the session token, and what to POST then, with it."""

    upload_url: str
    commit_url: str = Field(description="relative to the address that answered")
    expires_in: int


class _Transfer(BaseModel):
    path: str
    url: str
    limit: int = MOST_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferService:
    """Moves them; *s3* makes the client, or returns the one it made."""

    workspaces: WorkspaceClient
    s3: "Callable[[], S3Client]"
    bucket: str
    new_id: Callable[[], str] = lambda: uuid4().hex

    def download(self, thread_id: str, path: str) -> Download:
        """
        Have the sandbox put a file into the bucket, and return where it is.

        Raises:
            NoFileError, PathConflictError, TooLargeError: there is none, or it is no file, or too large.
            TransferFailedError: the bucket did not take it.
            AppError: as ``WorkspaceClient.send``.
        """
        key = _key(thread_id, self.new_id())
        order = _Transfer(path=_file(path), url=self._url("put_object", key))
        sent = self.workspaces.call(thread_id, "POST", "/sandboxd/transfers/out", Stored, order, seconds=SECONDS)
        # A page of somebody's must not come to life in the bucket's name.
        shown = {"ResponseContentType": BINARY, "ResponseContentDisposition": "attachment"}
        return Download(download_url=self._url("get_object", key, **shown), size=sent.size, expires_in=URL_SECONDS)

    def upload(self, thread_id: str, path: str) -> Upload:
        """
        Return where to put a file that is to be at *path*. No sandbox is needed for that.

        Raises:
            InvalidRequestError: there can be no such path.
        """
        _file(path)
        upload_id = self.new_id()
        url = self._url("put_object", _key(thread_id, upload_id))
        return Upload(upload_url=url, commit_url=f"?commit={upload_id}", expires_in=URL_SECONDS)

    def commit(self, thread_id: str, path: str, upload_id: str) -> Stored:
        """
        Have the sandbox put what was uploaded at *path*, all at once. Again it does it again.

        Raises:
            NoFileError: nothing was uploaded.
            PathConflictError, TooLargeError, NoSpaceError: it cannot be there.
            TransferFailedError: it did not come whole.
            AppError: as ``WorkspaceClient.send``.
        """
        order = _Transfer(path=_file(path), url=self._url("get_object", _key(thread_id, upload_id)))
        return self.workspaces.call(thread_id, "POST", "/sandboxd/transfers/in", Stored, order, seconds=SECONDS)

    def _url(self, method: Literal["get_object", "put_object"], key: str, **more: Any) -> str:
        params = {"Bucket": self.bucket, "Key": key, **more}
        return self.s3().generate_presigned_url(method, Params=params, ExpiresIn=URL_SECONDS)


def _key(thread_id: str, upload_id: str) -> str:
    return f"{PREFIX}{thread_hash(thread_id)}/{upload_id}"


def _file(path: str) -> str:
    if not path:
        raise InvalidRequestError("a file's path is needed")
    return checked(path)
