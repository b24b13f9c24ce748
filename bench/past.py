"""
Two threads that differ in their past: one has a single earlier turn, the other hundreds.

Earlier turns are stored as the functions would have stored them, by the stores that these have.
"""

import asyncio
import contextlib
from time import perf_counter
from typing import TYPE_CHECKING

from bench.tabs import Thread
from chat.bodies import BodyStore
from chat.cuts import CutStore
from chat.messages import MessageStore, UIMessage
from chat.records import TurnRecord
from chat.turns import TurnStore
from local.stack.aws_clients import client, table
from local.stack.stack_file import StackFile
from threadbox.sockets import SocketStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAST = 499
CLOSED_SECONDS = 60
LOOK_SECONDS = 0.1
SETTLE_SECONDS = 1
YOUNG, OLD = "turn 2", f"turn {PAST + 1}"
"""Each thread by the number of its next turn, before anything is measured."""


class NoPastError(Exception):
    """The thread is in use: a turn of the past did not come to its end."""


class Pair:
    """The two threads, each with a sandbox of its own, whose agents know equally little."""

    def __init__(self, stack: StackFile) -> None:
        self._stack = stack
        self._rows = table(stack.outputs["TableName"], stack.aws_url)
        self._sockets = SocketStore(table=self._rows)
        self._identifiers: dict[str, str] = {}

    @classmethod
    async def create(cls, stack: StackFile) -> "Pair":
        """Make both threads and ask each a first question, which starts its sandbox."""
        pair = cls(stack)
        for name, count in ((YOUNG, 0), (OLD, PAST - 1)):
            async with Thread.open(stack) as thread:
                await asyncio.to_thread(pair._write_past, thread.identifier, count)
                await thread.ask("say hello")
                pair._identifiers[name] = thread.identifier
        await pair._closed()
        return pair

    @contextlib.asynccontextmanager
    async def opened(self, tabs: int) -> "AsyncIterator[dict[str, Thread]]":
        """Open that many tabs on each of both; closes them, and waits until the functions have seen to that."""
        async with contextlib.AsyncExitStack() as opened:
            yield {
                name: await opened.enter_async_context(Thread.open(self._stack, identifier, tabs=tabs))
                for name, identifier in self._identifiers.items()
            }
        await self._closed()

    async def query(self, name: str) -> float:
        """
        The seconds that the embedded AWS takes for the one query of a turn, for its sockets.

        It looks at every item of the thread for that, where DynamoDB goes by the key.
        """
        start = perf_counter()
        await asyncio.to_thread(self._sockets.list, self._identifiers[name])
        return perf_counter() - start

    def _write_past(self, thread: str, count: int) -> None:
        bodies = BodyStore(
            client=lambda: client("s3", self._stack.aws_url), bucket=self._stack.outputs["BodiesBucketName"]
        )
        messages = MessageStore(table=self._rows, bodies=bodies, cuts=CutStore(table=self._rows, bodies=bodies))
        write_past(TurnStore(table=self._rows), messages, thread, count)

    async def _closed(self) -> None:
        async with asyncio.timeout(CLOSED_SECONDS):
            for thread in self._identifiers.values():
                while await asyncio.to_thread(self._sockets.list, thread):  # noqa: ASYNC110 - nobody tells of it
                    await asyncio.sleep(LOOK_SECONDS)
        # A row is gone before its function is done.
        await asyncio.sleep(SETTLE_SECONDS)


def write_past(turns: TurnStore, messages: MessageStore, thread: str, count: int) -> None:
    """
    Give an idle thread *count* turns more, each a short question with its answer.

    The agent in its sandbox knows nothing of them.

    Raises:
        NoPastError: somebody asks something meanwhile.

    """
    for number in range(count):
        _write_turn(turns, messages, thread, number)


def _write_turn(turns: TurnStore, messages: MessageStore, thread: str, number: int) -> None:
    request_id, said = f"past-{number}", f"this is turn {number}"
    seq = messages.reserve(thread)
    question = UIMessage(id=f"m-{request_id}", role="user", parts=[{"type": "text", "text": f"say {said}"}])
    writes = messages.creation(thread, seq, question, request_id=request_id)
    submitted = turns.submit(thread, request_id, seq=seq, connection_id="past", writes=writes)
    turn = turns.start(thread, request_id, invocation=submitted.invocation)
    if turn is None:
        raise NoPastError(f"turn {number} is {submitted.result}")
    parts = [{"type": "step-start"}, {"type": "text", "text": said, "state": "done"}]
    stored = messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    if not stored or turns.end(turn, "completed", TurnRecord(ttft_ms=100)) is None:
        raise NoPastError(f"turn {number} was taken away")
