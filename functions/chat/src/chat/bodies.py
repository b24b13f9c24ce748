"""Bodies of messages that are too large for an item: one object each, written once, in a bucket of their own."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from threadbox.errors import HistoryUnavailableError
from threadbox.identifiers import thread_hash
from threadbox.objects import delete_objects

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyStore:
    """
    The objects ``<hash of the thread>/<number>/<epoch>``.

    The epoch keeps apart what two functions wrote for one message, of which one is stored: an object that an item
    names is never written again. *client* makes the client, or returns the one it made: few turns need it, and it is
    slow to make.
    """

    client: "Callable[[], S3Client]"
    bucket: str

    def put(self, thread_id: str, number: int, epoch: int, body: bytes) -> str:
        """
        Store a body and return its key.

        Raises:
            HistoryUnavailableError: S3 does not take it.
        """
        key = f"{_prefix(thread_id)}{number:010d}/{epoch}"
        try:
            self.client().put_object(Bucket=self.bucket, Key=key, Body=body, ContentType="application/json")
        except (ClientError, BotoCoreError) as exc:
            raise HistoryUnavailableError("The answer could not be stored.") from exc
        return key

    def get(self, key: str) -> bytes:
        """
        Return the body that an item names.

        Raises:
            HistoryUnavailableError: S3 does not give it.
        """
        try:
            return self.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except (ClientError, BotoCoreError) as exc:
            raise HistoryUnavailableError("The conversation cannot be read just now.", retry_after=5) from exc

    def delete(self, keys: Iterable[str]) -> int:
        """
        Delete bodies, of which some may be gone, and return how many that were.

        Raises:
            HistoryUnavailableError: S3 does not delete them.
        """
        failed = HistoryUnavailableError("The conversation could not be deleted.", retry_after=5)
        return delete_objects(self.client, self.bucket, keys, otherwise=failed)

    def delete_thread(self, thread_id: str, *, first: int = 0, until: int | None = None) -> int:
        """
        Delete the thread's bodies, or those of the numbers from *first* to before *until*, and return how many.

        What a function left that died before it wrote the item is found too.

        Raises:
            HistoryUnavailableError: S3 does not delete them.
        """
        prefix = _prefix(thread_id)
        # Keys behind this one, in the order of numbers.
        after = f"{prefix}{first:010d}"
        end = None if until is None else f"{prefix}{until:010d}"
        keys: list[str] = []
        try:
            pages = self.client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix, StartAfter=after):
                keys += [entry["Key"] for entry in page.get("Contents", [])]
        except (ClientError, BotoCoreError) as exc:
            raise HistoryUnavailableError("The conversation could not be deleted.", retry_after=5) from exc
        return self.delete(key for key in keys if end is None or key < end)


def _prefix(thread_id: str) -> str:
    return f"{thread_hash(thread_id)}/"
