"""Objects in S3, as far as more than one function deletes some."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from threadbox.errors import AppError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

AT_ONCE = 1000
"""DeleteObjects takes no more."""


def delete_objects(client: "Callable[[], S3Client]", bucket: str, keys: Iterable[str], *, otherwise: AppError) -> int:
    """
    Delete objects in this order, of which some may be gone, and return how many that were.

    *client* makes the client, which is slow: where there are no keys it is not asked to.

    Raises:
        AppError: *otherwise*, when S3 does not delete one of them.
    """
    named = list(keys)
    for start in range(0, len(named), AT_ONCE):
        objects: list[ObjectIdentifierTypeDef] = [{"Key": key} for key in named[start : start + AT_ONCE]]
        try:
            answer = client().delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        except (ClientError, BotoCoreError) as exc:
            raise otherwise from exc
        if answer.get("Errors"):
            raise otherwise
    return len(named)
