"""
Queries of the table: which items of a partition, as text, and all pages of them.

Not by boto3's ``Key`` and ``Attr``: a resource puts those together in one builder, and of two threads that query by it
at once each may be given the other's condition (boto3 1.44.5, ``ConditionExpressionBuilder.reset``).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

GROWTH = 4


class Items(NamedTuple):
    """A condition on the items' keys, and its values."""

    condition: str
    values: dict[str, str]


def partition(thread_id: str) -> Items:
    """Return all items of a partition."""
    return Items("thread_id = :partition", {":partition": thread_id})


def beginning(thread_id: str, prefix: str) -> Items:
    """Return those whose sort key begins with *prefix*."""
    values = {":partition": thread_id, ":prefix": prefix}
    return Items("thread_id = :partition AND begins_with(sk, :prefix)", values)


def between(thread_id: str, low: str, high: str) -> Items:
    """Return those whose sort key lies between the two, both included."""
    values = {":partition": thread_id, ":low": low, ":high": high}
    return Items("thread_id = :partition AND sk BETWEEN :low AND :high", values)


def pages(table: "Table", items: Items, *, projection: str | None = None, **options: Any) -> Iterator[dict[str, Any]]:
    """Yield the items as they are now, page by page; with a ``Limit``, each page larger than the one before."""
    query: dict[str, Any] = {
        "KeyConditionExpression": items.condition,
        "ExpressionAttributeValues": items.values,
        "ConsistentRead": True,
        **options,
    }
    if projection is not None:
        query["ProjectionExpression"] = projection
    while True:
        page = table.query(**query)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        if "Limit" in query:
            query["Limit"] *= GROWTH
