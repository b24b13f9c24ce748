"""
What DynamoDB would charge for: a proxy between the functions and the embedded AWS that reads the meter of each request.

Of a write the embedded AWS itself tells the units, if it is asked: it knows how large the item was and is. Of a read it
tells none that depend on what was read, so they are made here, of the items that came back.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import httpx

from bench.calls import SCHEDULED

READ_UNIT = 4096
"""Bytes; half a unit where what is read may be stale."""
CHECK_UNITS = 2
"""Write units of a transaction's condition check, which the embedded AWS passes over."""
TARGET = "X-Amz-Target"
HOP_BY_HOP = ("host", "connection", "content-length", "transfer-encoding", "keep-alive", "date", "server")


@dataclass(frozen=True, slots=True)
class Units:
    """Request units."""

    writes: float = 0
    reads: float = 0

    def __add__(self, other: "Units") -> "Units":
        return Units(self.writes + other.writes, self.reads + other.reads)


@dataclass(slots=True)
class Meter:
    """The units since the last time, and the address at which a function's requests are metered."""

    url: str = ""
    units: Units = field(default_factory=Units)
    _lock: Lock = field(default_factory=Lock)

    def variables(self, function: str) -> dict[str, str]:
        """What sends a function's requests past the meter; those that are no turn's go their own way."""
        return {} if function == SCHEDULED else {"AWS_ENDPOINT_URL_DYNAMODB": self.url}

    def note(self, units: Units) -> None:
        """Add what one request took."""
        with self._lock:
            self.units += units

    def take(self) -> Units:
        """The units since the last time."""
        with self._lock:
            units, self.units = self.units, Units()
        return units


@contextlib.contextmanager
def metered(aws_url: str) -> Iterator[Meter]:
    """Run the proxy."""
    meter = Meter()
    with httpx.Client(base_url=aws_url, trust_env=False, timeout=30) as aws:

        class Proxy(_Proxy):
            upstream = aws
            noted = meter

        with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
            meter.url = f"http://127.0.0.1:{server.server_port}"
            thread = Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield meter
            finally:
                server.shutdown()


def units(operation: str, asked: Mapping[str, Any], answered: Mapping[str, Any]) -> Units:
    """The units of a request that succeeded."""
    match operation:
        case "GetItem":
            return Units(reads=_reads(_size(answered.get("Item", {})), asked))
        case "BatchGetItem":
            return Units(
                reads=sum(
                    _reads(_size(item), asked["RequestItems"][table])
                    for table, items in answered["Responses"].items()
                    for item in items
                )
            )
        case "Query" | "Scan":
            return Units(reads=_reads(sum(_size(item) for item in answered["Items"]), asked))
        case "TransactWriteItems":
            checks = sum("ConditionCheck" in item for item in asked["TransactItems"])
            return Units(writes=checks * CHECK_UNITS + _told(answered))
        case _:
            return Units(writes=_told(answered))


def _told(answered: Mapping[str, Any]) -> float:
    told = answered.get("ConsumedCapacity", [])
    return sum(float(table["CapacityUnits"]) for table in (told if isinstance(told, list) else [told]))


def _reads(size: int, asked: Mapping[str, Any]) -> float:
    return max(1, math.ceil(size / READ_UNIT)) * (1 if asked.get("ConsistentRead") else 0.5)


def _size(item: Mapping[str, Any]) -> int:
    """The bytes of names and values, as DynamoDB counts them but for the few of lists, maps and numbers."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "M":
            return _size(content)
        case "L":
            return sum(_value_size(each) for each in content)
        case _:
            return len(str(content).encode())


class _Proxy(BaseHTTPRequestHandler):
    """Passes a request on, and notes what it took."""

    protocol_version = "HTTP/1.1"
    upstream: httpx.Client
    noted: Meter

    def do_POST(self) -> None:
        """Answer as DynamoDB does."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked["ReturnConsumedCapacity"] = "TOTAL"
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        answer = self.upstream.post(self.path, content=json.dumps(asked), headers=headers)
        if answer.is_success:
            operation = self.headers[TARGET].rpartition(".")[2]
            self.noted.note(units(operation, asked, answer.json()))
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
