"""Turns whose calls are counted and whose request units are metered, one at a time."""

from dataclasses import dataclass, field

from bench.calls import CallLog, count, mean
from bench.meter import Meter
from bench.prices import Usage
from bench.tabs import Thread

QUIET = 1.5
"""Seconds without a call after which a turn counts as put away; its lease is renewed more often while it lasts."""
S3 = "S3"
"""Named although a turn calls it only for an answer that is too large for an item."""
READS, WRITES = "DynamoDB: read units", "DynamoDB: write units"


@dataclass(slots=True, kw_only=True)
class Metering:
    """Keeps what it found: counts and use of each turn, by its kind. ``memory`` is in MB, by function."""

    log: CallLog
    meter: Meter
    memory: dict[str, int]
    counts: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    usages: dict[str, list[Usage]] = field(default_factory=dict)

    async def ask(self, kind: str, thread: Thread, text: str) -> None:
        """Ask, and keep what that took as a turn of that kind."""
        await self.skip()
        await thread.ask(text)
        await self.log.quiet(QUIET)
        calls, units = self.log.take(), self.meter.take()
        counts: dict[str, float] = {S3: 0, **count(calls), READS: units.reads, WRITES: units.writes}
        self.counts.setdefault(kind, []).append(counts)
        self.usages.setdefault(kind, []).append(Usage.of(calls, units, self.memory))

    async def skip(self) -> None:
        """Leave out what was called until now, as by a socket that was opened."""
        await self.log.quiet(QUIET)
        self.log.take()
        self.meter.take()

    def means(self) -> dict[str, dict[str, float]]:
        """The mean counts of each kind."""
        return {kind: mean(turns) for kind, turns in self.counts.items()}

    def usage(self, kind: str) -> Usage:
        """The mean use of a kind."""
        return Usage.mean(self.usages[kind])
