"""
A DynamoDB table in memory, for tests that make a hundred thousand calls: moto takes milliseconds for each.

It knows the expressions that the stores write, and is held against moto by running the same tests on both.
"""

import re
from copy import deepcopy
from functools import cache
from types import CodeType, SimpleNamespace
from typing import Any

KEYWORDS = {"AND": "and", "OR": "or", "NOT": "not", "IN": "in", "=": "==", "<>": "!="}
FUNCTIONS = {"attribute_exists", "attribute_not_exists", "if_not_exists", "size", "contains"}
TOKEN = re.compile(r"[#:]?\w+|<>|<=|>=|[=<>(),+]")

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


class MemoryTable:
    """The table, as boto3's resource has it."""

    name = "threads"

    def __init__(self) -> None:
        self.items: dict[Key, Item] = {}
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

    def get_item(self, *, Key: Item, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        found = self.items.get(_key(Key))
        return {} if found is None else {"Item": deepcopy(found)}

    def put_item(self, **write: Any) -> None:
        self._check(_key(write["Item"]), write)
        self.items[_key(write["Item"])] = deepcopy(write["Item"])

    def delete_item(self, **write: Any) -> None:
        self._check(_key(write["Key"]), write)
        self.items.pop(_key(write["Key"]), None)

    def update_item(self, **write: Any) -> dict[str, Any]:
        key = _key(write["Key"])
        self._check(key, write)
        self.items[key] = _updated({**write["Key"], **self.items.get(key, {})}, write)
        return {"Attributes": deepcopy(self.items[key])}

    def query(self, **asked: Any) -> dict[str, Any]:
        condition, values = asked["KeyConditionExpression"], asked["ExpressionAttributeValues"]
        return {"Items": [deepcopy(self.items[key]) for key in sorted(self.items) if _met(condition, values, key)]}

    def scan(self) -> dict[str, Any]:
        return {"Items": [deepcopy(item) for item in self.items.values()]}

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's names
        keys = [_key(key) for key in RequestItems[self.name]["Keys"]]
        found = [deepcopy(self.items[key]) for key in keys if key in self.items]
        return {"Responses": {self.name: found}, "UnprocessedKeys": {}}

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


def _key(item: Item) -> Key:
    return item["thread_id"], item["sk"]


def _met(condition: str, values: dict[str, str], key: Key) -> bool:
    of_sort_key = {"begins_with(sk, :prefix)": lambda: key[1].startswith(values[":prefix"])}
    whole, *parts = condition.split(" AND ")
    assert whole == "thread_id = :partition"
    return key[0] == values[":partition"] and all(of_sort_key[part]() for part in parts)


def _updated(item: Item, write: dict[str, Any]) -> Item:
    before, item = item, deepcopy(item)
    parts = re.split(r"\b(SET|REMOVE|ADD|DELETE)\b", write["UpdateExpression"])
    for verb, text in zip(parts[1::2], parts[2::2], strict=True):
        for change in re.split(r",(?![^(]*\))", text):
            name, _, value = change.strip().partition(" = " if verb == "SET" else " ")
            name = write.get("ExpressionAttributeNames", {}).get(name, name)
            said = _value(value, before, write) if value else None
            match verb:
                case "SET":
                    item[name] = deepcopy(said)
                case "REMOVE":
                    item.pop(name, None)
                case "ADD" if isinstance(said, set):
                    item[name] = item.get(name, set()) | said
                case "ADD":
                    item[name] = item.get(name, 0) + said
                case "DELETE":
                    item[name] = item.get(name, set()) - said
            if item.get(name) == set():
                del item[name]
    return item


def _value(expression: str, item: Item, write: dict[str, Any]) -> Any:
    names, values = write.get("ExpressionAttributeNames", {}), write.get("ExpressionAttributeValues", {})

    def get(name: str) -> Any:
        return values[name] if name.startswith(":") else item.get(names.get(name, name), MISSING)

    functions = {
        "attribute_exists": lambda had: had is not MISSING,
        "attribute_not_exists": lambda had: had is MISSING,
        "if_not_exists": lambda had, other: other if had is MISSING else had,
        "size": lambda had: MISSING if had is MISSING else len(had),
        "contains": lambda had, one: had is not MISSING and one in had,
    }
    return eval(_compiled(expression), {"get": get, **functions})  # noqa: S307 - an expression of ours


@cache
def _compiled(expression: str) -> CodeType:
    words = []
    for token in TOKEN.findall(expression):
        plain = token in FUNCTIONS or not re.match(r"[#:\w]", token)
        words.append(KEYWORDS.get(token) or (token if plain else f"get({token!r})"))
    # A list of one is a list.
    source = re.sub(r"in \(((?: get\('[^']+'\)(?: ,)?)+) \)", r"in (\1 ,)", " ".join(words))
    return compile(source, expression, "eval")
