"""
The end of a sandbox that nobody needs any more, or that is too old.

::

    ready ── quiet for so long ──▶ saving ── nothing happened meanwhile ──▶ the door is closed ──▶ stopping
      ▲                              │
      └── something happened, or it cannot be saved ◀┘

Whether there is a prompt is asked under the same lock under which prompts are taken: one that comes before the door is
closed keeps the sandbox, one that comes later is refused, and the control plane starts another sandbox for it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from sandboxd.activity import Activity
from sandboxd.contract import ExitCode
from sandboxd.maintenance import Maintenance

logger = logging.getLogger(__name__)

SAVE_SECONDS = 120
LOOKS = 20
"""So often within the time it may be idle."""
LOOK_SECONDS = 5
OVERTIME_SECONDS = 900
"""What cannot be saved keeps one that is too old for so long, then no longer."""
OVERDUE_SECONDS = 4 * 3600
"""Longer than any turn: whatever still claims to be at work then, hangs."""


class Saver(Protocol):
    """Keeps what outlives the sandbox."""

    @property
    def unsaved(self) -> bool:
        """Whether there is something that is not kept yet."""

    async def finish(self) -> None:
        """Keep it now."""


class NothingToKeep:
    """The saver of a sandbox of which nothing outlives it."""

    unsaved = False

    async def finish(self) -> None:
        """There is nothing to do."""


@dataclass(slots=True, kw_only=True)
class Retirement:
    """
    Ends the sandbox by *end* once it has been idle for *idle_seconds*, or as soon as it is idle after *life_seconds*.

    *works* says whether OpenCode works on something, or somebody signs in.
    """

    activity: Activity
    maintenance: Maintenance
    works: Callable[[], Awaitable[bool]]
    end: Callable[[ExitCode], None]
    idle_seconds: float
    life_seconds: float
    saver: Saver = field(default_factory=NothingToKeep)
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    _born: float = 0

    async def watch(self) -> None:
        """Watch from now, when the sandbox is ready, until it is to end."""
        self.activity.touch()
        self._born = self.now()
        look = min(self.idle_seconds / LOOKS, self.life_seconds / LOOKS, LOOK_SECONDS)
        while True:
            await self.pause(look)
            if self._late(0):
                if await self._retire(ExitCode.TOO_OLD):
                    return
            elif self.activity.quiet_for() >= self.idle_seconds and await self._retire(ExitCode.IDLE):
                return

    async def _retire(self, code: ExitCode) -> bool:
        """Save and close the door; False when there is something to stay for."""
        seen = self.activity.moves
        if (self.activity.busy_with or self.maintenance.wanted or await self.works()) and not self._late(
            OVERDUE_SECONDS
        ):
            return False
        if not await self._save() and not self._late(OVERTIME_SECONDS):
            return False
        if not await self.maintenance.close_unless(lambda: self._stays(seen)) and not self._late(OVERDUE_SECONDS):
            return False
        logger.info("retiring: %s", code.name)
        self.end(code)
        return True

    def _stays(self, seen: int) -> bool:
        return bool(self.activity.busy_with) or self.activity.moves != seen

    def _late(self, seconds: float) -> bool:
        return self.now() - self._born >= self.life_seconds + seconds

    async def _save(self) -> bool:
        """Have everything kept; False when something is not."""
        try:
            async with asyncio.timeout(SAVE_SECONDS):
                await self.saver.finish()
        except (TimeoutError, OSError) as exc:
            logger.warning("not saved: %s", type(exc).__name__)
            return False
        return not self.saver.unsaved
