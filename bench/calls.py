"""
What the functions call, as botocore itself reports it: one datagram per API call (``AWS_CSM_ENABLED``), with its time.

Nothing stands in the way of the calls, and no function is changed but in its environment; that starts its workers
anew, so it is done in a pass of its own, after everything that is timed.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.stack.aws_clients import client
from local.stack.stack_file import StackFile

PREFIX = "threadbox-"
KINDS = {
    "DynamoDB": "DynamoDB",
    "ApiGatewayManagementApi": "@connections",
    "Lambda": "Lambda",
}
WRITTEN_SECONDS = 30
SCHEDULED = "chat-recover"
"""Looks for turns whose function died once a minute, whether there is a turn or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One API call of a function. ``began`` is Unix time; both times are exact to a millisecond."""

    function: str
    service: str
    operation: str
    began: float
    seconds: float

    @property
    def ended(self) -> float:
        """When its answer was there."""
        return self.began + self.seconds


class CallLog(asyncio.DatagramProtocol):
    """The calls since the beginning."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.heard_at = time.monotonic()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio passes it
        """Note a call; of its attempts nothing is noted."""
        report = json.loads(data)
        if report["Type"] == "ApiCall" and report["ClientId"] != SCHEDULED:
            self.heard_at = time.monotonic()
            call = Call(
                function=report["ClientId"],
                service=report["Service"],
                operation=report["Api"],
                began=report["Timestamp"] / 1000,
                seconds=report["Latency"] / 1000,
            )
            self.calls.append(call)

    async def quiet(self, seconds: float) -> None:
        """Wait until no call was heard of for that long, for a bounded time."""
        async with asyncio.timeout(WRITTEN_SECONDS):
            while (left := self.heard_at + seconds - time.monotonic()) > 0:  # noqa: ASYNC110 - the time is the thing
                await asyncio.sleep(left)

    def take(self) -> list[Call]:
        """The calls since the last time, in the order in which they began."""
        calls, self.calls = self.calls, []
        return sorted(calls, key=lambda call: call.began)


@contextlib.asynccontextmanager
async def observed(stack: StackFile, more: Callable[[str], dict[str, str]] = lambda _: {}) -> AsyncIterator[CallLog]:
    """
    Have Threadbox's functions report their calls; afterwards they are as they were.

    *more* gives further variables of a function's environment, by its name.
    """
    transport, log = await asyncio.get_running_loop().create_datagram_endpoint(CallLog, local_addr=("127.0.0.1", 0))
    functions = client("lambda", stack.aws_url)
    before = await asyncio.to_thread(_environments, functions)
    try:
        reporting = {"AWS_CSM_ENABLED": "true", "AWS_CSM_PORT": str(transport.get_extra_info("sockname")[1])}
        for name, variables in before.items():
            short = name.removeprefix(PREFIX)
            own = {"AWS_CSM_CLIENT_ID": short} | more(short)
            await asyncio.to_thread(_set, functions, name, variables | reporting | own)
        yield log
    finally:
        for name, variables in before.items():
            await asyncio.to_thread(_set, functions, name, variables)
        transport.close()


def count(calls: Iterable[Call]) -> dict[str, int]:
    """How many calls of each kind, and per operation."""
    kinds: Counter[str] = Counter()
    for call in calls:
        kind = KINDS.get(call.service, call.service)
        kinds[kind] += 1
        if kind != "@connections":
            kinds[f"{kind} {call.operation} ({call.function})"] += 1
    return dict(sorted(kinds.items()))


def mean(turns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean number of calls of each kind."""
    kinds = sorted({kind for found in turns for kind in found})
    return {kind: round(sum(found.get(kind, 0) for found in turns) / len(turns), 1) for kind in kinds}


def memory_sizes(stack: StackFile) -> dict[str, int]:
    """The memory that each function has, in MB, as it was deployed."""
    return {
        function["FunctionName"].removeprefix(PREFIX): function["MemorySize"]
        for function in client("lambda", stack.aws_url).list_functions()["Functions"]
    }


def _environments(functions: Any) -> dict[str, dict[str, str]]:
    return {
        function["FunctionName"]: function["Environment"]["Variables"]
        for function in functions.list_functions()["Functions"]
        if function["FunctionName"].startswith(PREFIX)
    }


def _set(functions: Any, name: str, variables: dict[str, str]) -> None:
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
