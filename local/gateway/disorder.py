"""
In which order the events of a socket reach the function.

AWS promises none: every message is an invocation of its own, and nothing holds a later one back. By default they come
one after another here, so that what happens is easy to follow; disorder is asked for, with a seed.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

Place = Callable[[], AbstractAsyncContextManager[None]]
"""Called as each event comes in; what it gives is entered when the event may go to the function."""
Sleep = Callable[[float], Awaitable[None]]


def in_order() -> Place:
    """For a socket whose events go one after another."""
    turn = asyncio.Lock()

    @asynccontextmanager
    async def place() -> AsyncIterator[None]:
        # Tasks get a lock in the order in which they asked for it.
        async with turn:
            yield

    return place


class Disorder:
    """
    Events of all sockets go in parallel, each after a pause of its own, so that they overtake each other.

    The pause follows from the seed, the socket's number and the event's number on the socket: the same clients doing
    the same get the same pauses. What remains to chance is the scheduling.
    """

    def __init__(self, seed: int, *, spread: float, sleep: Sleep = asyncio.sleep) -> None:
        """Take the seed, and the longest pause in seconds."""
        self._seed = seed
        self._spread = spread
        self._sleep = sleep
        self._sockets = count()

    def __call__(self) -> Place:
        """For the next socket."""
        pauses = random.Random(f"{self._seed}/{next(self._sockets)}")  # noqa: S311 - not a secret

        def place() -> AbstractAsyncContextManager[None]:
            return self._after(pauses.uniform(0, self._spread))

        return place

    @asynccontextmanager
    async def _after(self, pause: float) -> AsyncIterator[None]:
        await self._sleep(pause)
        yield
