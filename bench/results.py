"""What a run found: the content of results.json."""

from pydantic import BaseModel

from bench.daemon import Daemon
from bench.figures import Ratio, Times
from bench.prices import Usage
from bench.words import Verdict


class Conditions(BaseModel, frozen=True):
    """What the figures depend on."""

    date: str
    """UTC."""
    cores: int
    load_before: float
    """Processes that wanted to run, on average over a minute, before the run."""
    load_after: float
    python: str
    opencode: str
    commit: str
    command: str


class Comparison(BaseModel, frozen=True):
    """One thing on both sides. ``aim`` is the ratio (p50) that is wanted."""

    bare: Times
    ours: Times
    aim: float | None = None

    @property
    def ratio(self) -> Ratio:
        """Ours over bare."""
        return Ratio.of(self.ours, self.bare)


class Tally(BaseModel, frozen=True):
    """What became of the numbered words of all long answers of one kind."""

    answers: int
    lost: int
    doubled: int
    reordered: int
    foreign: int

    @classmethod
    def of(cls, verdicts: list[Verdict]) -> "Tally":
        """The verdicts added up."""
        total = sum(verdicts, Verdict())
        return cls(
            answers=len(verdicts),
            lost=total.lost,
            doubled=total.doubled,
            reordered=total.reordered,
            foreign=total.foreign,
        )

    @property
    def intact(self) -> bool:
        """Whether there were any, and nothing is wrong with them."""
        return self.answers > 0 and not (self.lost or self.doubled or self.reordered or self.foreign)


class Crowd(BaseModel, frozen=True):
    """What became of threads that asked for a sandbox at once: tasks that were started, and how long the last took."""

    asked: int
    tasks: int
    errors: int
    seconds: float

    @property
    def exact(self) -> bool:
        """Whether each got one."""
        return self.tasks == self.asked and not self.errors


class Priced(BaseModel, frozen=True):
    """What a turn of *seconds* uses, if what one of another length used is brought to that. ``aim`` is in dollars."""

    seconds: float
    measured: Usage
    short: Usage
    aim: float

    @property
    def usage(self) -> Usage:
        """That use."""
        return self.measured.lasting(self.seconds, self.short)


class Results(BaseModel, frozen=True):
    """A run."""

    conditions: Conditions
    words: int
    """Of a long answer."""
    comparisons: dict[str, Comparison]
    floor: Times
    """What the calls of a turn take, up to its first delta, in functions that do nothing else."""
    empty: Times
    """The same of functions that only hand a frame on."""
    queries: dict[str, Times]
    """What the embedded AWS takes for the one query of a turn, by the thread's past; it is taken off these turns."""
    tallies: dict[str, Tally]
    memory: dict[str, int]
    """MB of each part (PSS)."""
    daemon: Daemon
    """sandboxd by itself."""
    calls: dict[str, dict[str, float]]
    """Mean number of calls per turn, by kind of turn and kind of call."""
    metered: dict[str, dict[str, float]]
    """The same of the turns whose request units were metered, and those."""
    priced: Priced
    crowd: Crowd
    trace: dict[str, float]
    """Milliseconds of each span of a turn, up to its first delta."""

    @property
    def intact(self) -> bool:
        """Whether every word of every long answer came, once and in order."""
        return bool(self.tallies) and all(tally.intact for tally in self.tallies.values())

    def split(self) -> dict[str, float]:
        """The first delta's milliseconds (p50) as what OpenCode takes, what the emulator takes, and our rest."""
        first = self.comparisons["first delta"]
        rest = first.ours.p50 - first.bare.p50 - self.floor.p50
        return {"OpenCode": first.bare.p50, "emulator": self.floor.p50, "Threadbox": round(rest, 1)}
