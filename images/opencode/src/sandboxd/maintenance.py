"""
Work on OpenCode that would cut off whatever it does: a restart, a dispose.

It waits until OpenCode is idle, then comes before the next prompt; prompts that come meanwhile are held.
"""

import asyncio
from collections.abc import Awaitable, Callable

from sandboxd.errors import EndingError, NotReadyError
from sandboxd.patience import in_time
from sandboxd.tasks import Tasks

LOOK_SECONDS = 0.25


class Maintenance:
    """Decides between work and prompts: one lock, under which the question whether OpenCode is busy is asked."""

    def __init__(self, *, busy: Callable[[], Awaitable[bool]], tasks: Tasks, held_seconds: float) -> None:
        self._busy = busy
        self._tasks = tasks
        self._held_seconds = held_seconds
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._strict = 0
        self._closed = False
        self._look = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    @property
    def wanted(self) -> bool:
        """Whether work waits or is being done."""
        return self._waiting > 0

    async def settled(self) -> None:
        """Return when no work is wanted."""
        await self._settled.wait()

    def want(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        needless: Callable[[], bool] = lambda: False,
        strict: bool = False,
    ) -> None:
        """
        Do *work* as soon as OpenCode is idle, unless it has become *needless* by then.

        While it waits, OpenCode takes prompts behind what it is busy with; *strict*: none comes before the work.
        """
        self._waiting += 1
        self._strict += strict
        self._settled.clear()
        self._tasks.spawn(self._do_when_idle(work, needless, strict=strict))

    async def admit(self, take: Callable[[], None]) -> None:
        """
        Call *take* when OpenCode may be given a prompt; from then on it must count as busy.

        Raises:
            NotReadyError: that took too long.
            EndingError: there will be no more of them.
        """
        try:
            async with asyncio.timeout(self._held_seconds):
                while True:
                    async with self._lock:
                        if self._closed:
                            raise EndingError
                        if not self.wanted or (not self._strict and await self._busy()):
                            take()
                            return
                    self._look.set()
                    await self.settled()
        except TimeoutError:
            raise NotReadyError from None

    async def close_unless(self, needed: Callable[[], bool]) -> bool:
        """Admit no prompt any more, unless OpenCode is busy, or work is wanted, or it is *needed*; say whether so."""
        async with self._lock:
            self._closed = self._closed or not (self.wanted or await self._busy() or needed())
            return self._closed

    async def _do_when_idle(
        self, work: Callable[[], Awaitable[None]], needless: Callable[[], bool], *, strict: bool
    ) -> None:
        try:
            while not needless():
                async with self._lock:
                    if not await self._busy():
                        # Work that was done first, or time, may have made it so.
                        if not needless():
                            await work()
                        return
                self._look.clear()
                await in_time(self._look.wait(), LOOK_SECONDS)
        finally:
            self._waiting -= 1
            self._strict -= strict
            if not self._waiting:
                self._settled.set()
