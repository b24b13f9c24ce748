"""What a turn costs on AWS: what it uses, and the list prices of us-east-1 (arm64, on demand, without a free tier)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel

from bench.calls import Call
from bench.meter import Units

MILLION = 1_000_000
POST = "PostToConnection"
SOCKET, TURN, CONTROL = "chat-socket", "chat-turn", "sandbox-ctl"


class Price(NamedTuple):
    """What is paid for, and how many dollars a million of it are."""

    title: str
    per_million: float


PRICES = {
    "gb_seconds": Price("Lambda GB-seconds", 13.3334),
    "invocations": Price("Lambda invocations", 0.20),
    "write_units": Price("DynamoDB write request units", 0.625),
    "read_units": Price("DynamoDB read request units", 0.125),
    "messages": Price("WebSocket messages, of 32 KB at most", 1.00),
    "connection_minutes": Price("WebSocket connection minutes", 0.25),
}


class Usage(BaseModel, frozen=True):
    """What one turn with one tab used. ``seconds`` is how long its function ran."""

    seconds: float
    gb_seconds: float
    invocations: float
    write_units: float
    read_units: float
    messages: float
    connection_minutes: float

    @classmethod
    def of(cls, calls: Sequence[Call], units: Units, memory: Mapping[str, int]) -> "Usage":
        """
        What the *calls* of a turn amount to.

        A function counts from the beginning of its first call to the end of its last; sandbox_ctl, which answers while
        its caller waits, for as long as that waits. *memory* is in MB, by function.
        """
        invokes = [call for call in calls if call.operation == "Invoke"]
        seconds = {name: _span(call for call in calls if call.function == name) for name in (SOCKET, TURN)}
        seconds[CONTROL] = sum(call.seconds for call in invokes if call.function == TURN)
        return cls(
            seconds=seconds[TURN],
            gb_seconds=sum(took * memory[name] / 1024 for name, took in seconds.items()),
            # The first is API Gateway's, upon the frame that asks.
            invocations=1 + len(invokes),
            write_units=units.writes,
            read_units=units.reads,
            messages=1 + sum(call.operation == POST for call in calls),
            connection_minutes=seconds[TURN] / 60,
        )

    @classmethod
    def mean(cls, turns: Sequence["Usage"]) -> "Usage":
        """The mean of turns of one kind."""
        sums = {name: sum(getattr(turn, name) for turn in turns) for name in cls.model_fields}
        return cls(**{name: total / len(turns) for name, total in sums.items()})

    def lasting(self, seconds: float, short: "Usage") -> "Usage":
        """The same turn if it took *seconds*: what a *short* one uses too it uses once, and the rest by its length."""
        factor = (seconds - short.seconds) / (self.seconds - short.seconds)
        mine, once = self.model_dump(), short.model_dump()
        return Usage(**{name: once[name] + (used - once[name]) * factor for name, used in mine.items()})

    def costs(self) -> dict[str, float]:
        """Dollars by what is paid for."""
        return {name: getattr(self, name) * price.per_million / MILLION for name, price in PRICES.items()}

    @property
    def dollars(self) -> float:
        """All of it."""
        return sum(self.costs().values())


def _span(calls: Iterable[Call]) -> float:
    known = list(calls)
    return max(call.ended for call in known) - min(call.began for call in known) if known else 0
