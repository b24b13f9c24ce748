"""
A DynamoDB table in memory: moto takes milliseconds for each of the hundred thousand calls that the unit tests make.

It knows the expressions that the stores write. What it takes for them is held against moto by running the same tests on
both: ``pytest tests/unit --moto``; the stores' own tests always run on moto.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from decimal import Decimal
from functools import cache, wraps
from types import CodeType, SimpleNamespace
from typing import Any

from boto3.dynamodb.types import Binary

KEYWORDS = {"AND": "and", "OR": "or", "NOT": "not", "IN": "in", "=": "==", "<>": "!="}
FUNCTIONS = {"attribute_exists", "attribute_not_exists", "begins_with", "contains", "if_not_exists", "size"}
TOKEN = re.compile(r"[#:]?\w+(?:\.[#:]?\w+)*|<>|<=|>=|[=<>(),+]")
BETWEEN = re.compile(r"(\S+) BETWEEN (\S+) AND (\S+)")

Item = dict[str, Any]
Key = tuple[str, str]


class ConditionalCheckFailedException(Exception):  # noqa: N818 - boto3's name
    pass


class TransactionCanceledException(Exception):  # noqa: N818 - boto3's name
    def __init__(self, codes: list[str]) -> None:
        super().__init__(codes)
        self.response = {"CancellationReasons": [{"Code": code} for code in codes]}


class TransactionConflictException(Exception):  # noqa: N818 - boto3's name
    pass


class TransactionInProgressException(Exception):  # noqa: N818 - boto3's name
    pass


class Missing:
    """An attribute that is not there: no comparison with it holds."""

    def _no(self, _: object) -> bool:
        return False

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _no  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


MISSING = Missing()


def at_once(call: Callable[..., Any]) -> Callable[..., Any]:
    """Let nothing come in between, whichever thread it is from."""

    @wraps(call)
    def called(table: "MemoryTable", **arguments: Any) -> Any:
        with table.lock:
            return call(table, **arguments)

    return called


class MemoryTable:
    """The table, as boto3's resource has it."""

    name = "threads"

    def __init__(self) -> None:
        self.items: dict[Key, Item] = {}
        self.lock = threading.RLock()
        client = SimpleNamespace(
            batch_get_item=self.batch_get_item,
            transact_write_items=self.transact_write_items,
            exceptions=SimpleNamespace(
                ConditionalCheckFailedException=ConditionalCheckFailedException,
                TransactionCanceledException=TransactionCanceledException,
                TransactionConflictException=TransactionConflictException,
                TransactionInProgressException=TransactionInProgressException,
            ),
        )
        self.meta = SimpleNamespace(client=client)

    @at_once
    def get_item(self, **asked: Any) -> dict[str, Any]:
        found = self.items.get(_key(asked["Key"]))
        return {} if found is None else {"Item": _projected(found, asked)}

    @at_once
    def put_item(self, **write: Any) -> None:
        self._check(_key(write["Item"]), write)
        self.items[_key(write["Item"])] = _kept(write["Item"])

    @at_once
    def delete_item(self, **write: Any) -> None:
        self._check(_key(write["Key"]), write)
        self.items.pop(_key(write["Key"]), None)

    @at_once
    def update_item(self, **write: Any) -> dict[str, Any]:
        key = _key(write["Key"])
        self._check(key, write)
        self.items[key] = _updated({**write["Key"], **self.items.get(key, {})}, write)
        return {"Attributes": deepcopy(self.items[key])}

    @at_once
    def query(self, **asked: Any) -> dict[str, Any]:
        condition = asked["KeyConditionExpression"]
        assert condition.startswith("thread_id = :partition"), "a query is of one partition"
        found = [key for key in sorted(self.items) if _value(condition, self.items[key], asked)]
        return self._page(found if asked.get("ScanIndexForward", True) else found[::-1], asked)

    @at_once
    def scan(self, **asked: Any) -> dict[str, Any]:
        return self._page(sorted(self.items), asked)

    @contextmanager
    def batch_writer(self) -> Iterator["MemoryTable"]:
        yield self

    @at_once
    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's names
        keys = [_key(key) for key in RequestItems[self.name]["Keys"]]
        found = [deepcopy(self.items[key]) for key in keys if key in self.items]
        return {"Responses": {self.name: found}, "UnprocessedKeys": {}}

    @at_once
    def transact_write_items(self, *, TransactItems: Any) -> None:  # noqa: N803 - boto3's names
        before = dict(self.items)
        codes = []
        for entry in TransactItems:
            ((kind, write),) = entry.items()
            try:
                match kind:
                    case "Put":
                        self.put_item(**write)
                    case "Delete":
                        self.delete_item(**write)
                    case "Update":
                        self.update_item(**write)
                    case "ConditionCheck":
                        self._check(_key(write["Key"]), write)
                codes.append("None")
            except ConditionalCheckFailedException:
                codes.append("ConditionalCheckFailed")
        if set(codes) != {"None"}:
            self.items = before
            raise TransactionCanceledException(codes)

    def _check(self, key: Key, write: dict[str, Any]) -> None:
        if "ConditionExpression" in write and not _value(write["ConditionExpression"], self.items.get(key, {}), write):
            raise ConditionalCheckFailedException

    def _page(self, keys: list[Key], asked: dict[str, Any]) -> dict[str, Any]:
        """Return those behind where the last page ended, as many as may be; only then are they filtered."""
        if "ExclusiveStartKey" in asked:
            keys = keys[keys.index(_key(asked["ExclusiveStartKey"])) + 1 :]
        taken = keys[: asked.get("Limit")]
        items = [self.items[key] for key in taken]
        if "FilterExpression" in asked:
            items = [item for item in items if _value(asked["FilterExpression"], item, asked)]
        page: dict[str, Any] = {"Items": [_projected(item, asked) for item in items], "Count": len(items)}
        if len(taken) == asked.get("Limit"):
            page["LastEvaluatedKey"] = dict(zip(("thread_id", "sk"), taken[-1], strict=True))
        return page


def _key(item: Item) -> Key:
    return item["thread_id"], item["sk"]


def _projected(item: Item, asked: dict[str, Any]) -> Item:
    """Return a copy of the item, or of those attributes of it that are asked for."""
    names = asked.get("ProjectionExpression", ", ".join(item)).split(", ")
    return {name: deepcopy(item[name]) for name in names if name in item}


def _kept(value: Any) -> Any:
    """Return the value as boto3 gives it back; it refuses what DynamoDB has not."""
    match value:
        case bool() | str() | None | Decimal() | Binary():
            return value
        case int():
            return Decimal(value)
        case bytes():
            return Binary(value)
        case set() if value:
            return {_kept(each) for each in value}
        case list():
            return [_kept(each) for each in value]
        case dict():
            return {name: _kept(each) for name, each in value.items()}
    raise TypeError(f"DynamoDB has no {value!r}")


def _updated(item: Item, write: dict[str, Any]) -> Item:
    before, item = item, deepcopy(item)
    parts = re.split(r"\b(SET|REMOVE|ADD|DELETE)\b", write["UpdateExpression"])
    for verb, text in zip(parts[1::2], parts[2::2], strict=True):
        for change in re.split(r",(?![^(]*\))", text):
            path, _, value = change.strip().partition(" = " if verb == "SET" else " ")
            *outer, name = _path(path, write)
            within = item
            for step in outer:
                within = within[step]
            said = _value(value, before, write) if value else None
            match verb:
                case "SET":
                    within[name] = _kept(said)
                case "REMOVE":
                    within.pop(name, None)
                case "ADD" if isinstance(said, set):
                    within[name] = within.get(name, set()) | said
                case "ADD":
                    within[name] = _kept(within.get(name, 0) + said)
                case "DELETE":
                    within[name] = within.get(name, set()) - said
            if within.get(name) == set():
                del within[name]
    return item


def _path(path: str, write: dict[str, Any]) -> list[str]:
    """Return the attributes' names on the way to what an expression names."""
    names = write.get("ExpressionAttributeNames", {})
    return [names.get(step, step) for step in path.split(".")]


def _value(expression: str, item: Item, write: dict[str, Any]) -> Any:
    values = write.get("ExpressionAttributeValues", {})

    def get(name: str) -> Any:
        if name.startswith(":"):
            return values[name]
        found: Any = item
        for step in _path(name, write):
            found = found.get(step, MISSING) if isinstance(found, dict) else MISSING
        return found

    functions = {
        "attribute_exists": lambda had: had is not MISSING,
        "attribute_not_exists": lambda had: had is MISSING,
        "begins_with": lambda had, prefix: had is not MISSING and had.startswith(prefix),
        "if_not_exists": lambda had, other: other if had is MISSING else had,
        "size": lambda had: MISSING if had is MISSING else len(had),
        "contains": lambda had, one: had is not MISSING and one in had,
    }
    return eval(_compiled(expression), {"get": get, **functions})  # noqa: S307 - an expression of ours


@cache
def _compiled(expression: str) -> CodeType:
    words = []
    for token in TOKEN.findall(BETWEEN.sub(r"(\1 >= \2 AND \1 <= \3)", expression)):
        plain = token in FUNCTIONS or not re.match(r"[#:\w]", token)
        words.append(KEYWORDS.get(token) or (token if plain else f"get({token!r})"))
    # A list of one is a list.
    source = re.sub(r"in \(((?: get\('[^']+'\)(?: ,)?)+) \)", r"in (\1 ,)", " ".join(words))
    return compile(source, expression, "eval")
