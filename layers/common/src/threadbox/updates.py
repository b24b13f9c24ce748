"""Updates of one item: how a race is decided, and how transactions are waited out."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import random
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

from threadbox.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

TRIES = 12
PAUSE = 0.02

T = TypeVar("T")


def update_if(
    table: "Table",
    key: dict[str, str],
    *,
    update: str,
    condition: str,
    values: dict[str, Any],
    names: "Mapping[str, str] | None" = None,
) -> dict[str, Any] | None:
    """
    Update the item if *condition* holds, and return its attributes as they are then; None when it does not hold.

    *names* may hold more than is used.

    Raises:
        ConflictError: as :func:`outlasting`.
    """
    used = {name: attribute for name, attribute in (names or {}).items() if name in update + condition}
    optional: dict[str, Any] = {"ExpressionAttributeNames": used} if used else {}
    write = partial(
        table.update_item,
        Key=key,
        UpdateExpression=update,
        ConditionExpression=condition,
        ExpressionAttributeValues=values,
        ReturnValues="ALL_NEW",
        **optional,
    )
    try:
        return outlasting(table, write)["Attributes"]
    except table.meta.client.exceptions.ConditionalCheckFailedException:
        return None


def outlasting(table: "Table", write: Callable[[], T]) -> T:
    """
    Return what *write* does; a transaction that has the item in hand refuses every other write to it: then again.

    Raises:
        ConflictError: there was a transaction every time.
    """
    for _ in range(TRIES):
        with suppress(table.meta.client.exceptions.TransactionConflictException):
            return write()
    raise ConflictError("Too much is going on here just now. Please try again.", retry_after=1)


def transact(
    table: "Table",
    writes: "Sequence[TransactWriteItemTypeDef]",
    *,
    pause: Callable[[float], None] = sleep,
) -> set[int]:
    """
    Write all or nothing; return which of *writes* were refused by their conditions, none when all was written.

    While other transactions have one of the items in hand it is tried again, after a moment that grows.

    Raises:
        ConflictError: there was one every time.
    """
    client = table.meta.client
    for attempt in range(TRIES):
        try:
            client.transact_write_items(TransactItems=writes)
        except client.exceptions.TransactionCanceledException as exc:
            codes = [reason.get("Code", "None") for reason in exc.response["CancellationReasons"]]
            refused = {place for place, code in enumerate(codes) if code == "ConditionalCheckFailed"}
            if refused:
                return refused
        except client.exceptions.TransactionInProgressException:
            pass
        else:
            return set()
        pause(random() * PAUSE * (attempt + 1))  # noqa: S311 - so that those who met do not meet again
    raise ConflictError("Too much is going on here just now. Please try again.", retry_after=1)
