"""
What each part of the functions' code refers to, as mypy understands it: who may be called by whom.

A part is a function, a method or a variable of a module, by its full name. What it refers to it may call, so what can
be reached from a handler is at least what the handler does: nothing is missed but what types do not tell (``getattr``,
``Any``), of which a boto3 client here has none.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mypy import build
from mypy.config_parser import parse_config_file
from mypy.modulefinder import BuildSource
from mypy.nodes import (
    AssignmentStmt,
    CallExpr,
    ClassDef,
    Decorator,
    DictExpr,
    Expression,
    FuncDef,
    MemberExpr,
    Node,
    OverloadedFuncDef,
    RefExpr,
    StrExpr,
    TypeInfo,
    Var,
)
from mypy.options import Options
from mypy.types import CallableType, Instance, LiteralType, Type, TypeType, TypeVarType, UnionType, get_proper_type

from tests.stacks import ROOT

SOURCES = ("layers/common", "functions/chat", "functions/oauth_proxy", "functions/sandbox_ctl")
STUBS = "mypy_boto3_"
TRANSACTED = ("Put", "Update", "Delete", "ConditionCheck")
"""What a transaction of DynamoDB's may write, each of which is allowed by itself."""

ELSEWHERE = {"node", "info", "def_var", "original_def", "analyzed", "corresponding_argument", "expanded"}
"""What a node of mypy's has from other places: what a name means, what was made of it."""


class AwsCall(NamedTuple):
    """A method of a boto3 client or resource; for those that take an operation's name, that operation's method."""

    service: str
    """As boto3's stubs call it: ``dynamodb``, ``stepfunctions``."""
    method: str


@dataclass
class Reach:
    """What can be reached from a part."""

    parts: set[str] = field(default_factory=set)
    calls: set[AwsCall] = field(default_factory=set)


class CallGraph:
    """The parts of the functions and the layer."""

    def __init__(self) -> None:
        result = build.build(_sources(), _options())
        assert not result.errors, result.errors
        self._types = result.types
        self._refers: dict[str, set[str]] = defaultdict(set)
        self._calls: dict[str, set[AwsCall]] = defaultdict(set)
        self._own = {source.module for source in _sources()}
        trees = [tree for name in self._own if (tree := result.graph[name].tree) is not None]
        self._classes = {info.fullname: info for tree in trees for info in _classes(tree.names.values())}
        for tree in trees:
            for statement in tree.defs:
                self._add(statement, tree.fullname)

    def reached_from(self, part: str) -> Reach:
        """Everything that it may come to, itself included."""
        assert part in self._refers, part
        found, ahead = Reach(), {part}
        while ahead:
            name = ahead.pop()
            found.parts.add(name)
            found.calls |= self._calls[name]
            ahead |= self._refers[name] - found.parts
        return found

    def _add(self, statement: object, where: str) -> None:
        if isinstance(statement, ClassDef):
            for inner in statement.defs.body:
                self._add(inner, statement.fullname)
            return
        if isinstance(statement, FuncDef | Decorator | OverloadedFuncDef):
            names = [statement.fullname]
        elif isinstance(statement, AssignmentStmt):
            names = [target.fullname for target in statement.lvalues if isinstance(target, RefExpr)]
        else:
            return
        for name in names:
            collector = _Collector(self._types, self._classes)
            collector.look_at(statement)
            self._refers[name or where] |= collector.refers
            self._calls[name or where] |= collector.calls


class _Collector:
    """Gathers what a statement refers to. Not a visitor of mypy's: those are compiled, and cannot be inherited from."""

    def __init__(self, types: dict[Expression, Type], classes: dict[str, TypeInfo]) -> None:
        self._types = types
        self._classes = classes
        self.refers: set[str] = set()
        self.calls: set[AwsCall] = set()

    def look_at(self, statement: Node) -> None:
        """Gather from the statement and all that is in it."""
        for node in _within(statement):
            if isinstance(node, RefExpr):
                self._refer(node)
            if isinstance(node, MemberExpr):
                self._member(node)
            elif isinstance(node, CallExpr):
                self._call(node)
            elif isinstance(node, DictExpr):
                said = {key.value for key, _ in node.items if isinstance(key, StrExpr)}
                self.calls |= {AwsCall("dynamodb", kind) for kind in said & set(TRANSACTED)}

    def _member(self, o: MemberExpr) -> None:
        for info in self._infos(o.expr):
            if (service := _service(info)) is not None:
                self.calls.add(AwsCall(service, o.name))
            self.refers |= set(self._members(info, o.name))

    def _call(self, o: CallExpr) -> None:
        if isinstance(o.callee, MemberExpr) and o.callee.name in {"get_paginator", "generate_presigned_url"}:
            for service in filter(None, map(_service, self._infos(o.callee.expr))):
                self.calls |= {AwsCall(service, name) for name in self._said(o.args[0])}

    def _refer(self, expression: RefExpr) -> None:
        name = expression.fullname
        if not name:
            return
        self.refers.add(name)
        node = expression.node
        if isinstance(node, TypeInfo):
            # An object's own protocol (entering, iterating, calling) is not written where it is used.
            self.refers |= {f"{info.fullname}.{name}" for info in node.mro for name in info.names if name[:2] == "__"}

    def _infos(self, expression: Expression) -> Iterator[TypeInfo]:
        """The classes that an expression may be of."""
        kind = self._types.get(expression)
        if kind is None and isinstance(expression, RefExpr) and isinstance(expression.node, Var):
            # What stands in an annotation (Depends) is not looked at as an expression.
            kind = expression.node.type
        yield from _infos(kind)

    def _members(self, info: TypeInfo, name: str) -> Iterator[str]:
        """The methods that may be meant by a name of that class: its own, a parent's, a descendant's, a protocol's."""
        for parent in info.mro:
            if name in parent.names:
                yield f"{parent.fullname}.{name}"
                break
        for other in self._classes.values():
            if name in other.names and (info in other.mro or (info.is_protocol and _has_all(other, info))):
                yield f"{other.fullname}.{name}"

    def _said(self, expression: Expression) -> set[str]:
        """The strings that an expression may be."""
        if isinstance(expression, StrExpr):
            return {expression.value}
        kind = get_proper_type(self._types[expression])
        kinds = [get_proper_type(item) for item in kind.items] if isinstance(kind, UnionType) else [kind]
        assert all(isinstance(item, LiteralType) for item in kinds), f"what {expression} may be is not said by its type"
        return {str(item.value) for item in kinds if isinstance(item, LiteralType)}


def _has_all(info: TypeInfo, protocol: TypeInfo) -> bool:
    """Whether a class has what the protocol asks for, by name."""
    return all(info.get(name) is not None for name in protocol.protocol_members)


def _within(node: Node) -> Iterator[Node]:
    """A node and all that is written in it."""
    yield node
    attributes = {name for cls in type(node).__mro__ for name in getattr(cls, "__mypyc_attrs__", ())}
    for name in attributes - ELSEWHERE:
        for inner in _nodes(getattr(node, name, None)):
            yield from _within(inner)


def _nodes(value: object) -> Iterator[Node]:
    if isinstance(value, Node) and not isinstance(value, TypeInfo):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _nodes(item)


def _service(info: TypeInfo) -> str | None:
    """The service that objects of that class call, if they do by themselves: a client, or a table."""
    package = info.module_name.partition(".")[0]
    calls = package.startswith(STUBS) and (info.name.endswith("Client") or info.name == "Table")
    return package.removeprefix(STUBS) if calls else None


def _infos(kind: Type | None) -> Iterator[TypeInfo]:
    proper = get_proper_type(kind)
    if isinstance(proper, Instance):
        yield proper.type
    elif isinstance(proper, UnionType):
        for item in proper.items:
            yield from _infos(item)
    elif isinstance(proper, CallableType) and proper.is_type_obj():
        yield proper.type_object()
    elif isinstance(proper, TypeType):
        yield from _infos(proper.item)
    elif isinstance(proper, TypeVarType):
        yield from _infos(proper.upper_bound)


def _classes(symbols: Iterable[object]) -> Iterator[TypeInfo]:
    for symbol in symbols:
        node = getattr(symbol, "node", None)
        if isinstance(node, TypeInfo):
            yield node


def _sources() -> list[BuildSource]:
    found = []
    for source in SOURCES:
        root = ROOT / source / "src"
        for path in sorted(root.rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            # What is given as text is read anew, and what it imports comes from mypy's cache.
            found.append(BuildSource(str(path), module, path.read_text()))
    return found


def _options() -> Options:
    options = Options()
    parse_config_file(options, lambda: None, str(ROOT / "pyproject.toml"))
    options.python_executable = sys.executable
    options.cache_dir = str(ROOT / ".mypy_cache")
    options.export_types = options.preserve_asts = True
    return options
