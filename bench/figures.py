"""Figures made of many measurements, as they stand in results.json."""

import math
from collections.abc import Sequence

from pydantic import BaseModel


class Times(BaseModel, frozen=True):
    """One thing measured *count* times, in milliseconds."""

    count: int
    p50: float
    p95: float
    least: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times":
        """The figures of measurements in seconds, of which there is at least one."""
        ordered = sorted(seconds)
        return cls(
            count=len(ordered),
            p50=_milliseconds(percentile(ordered, 50)),
            p95=_milliseconds(percentile(ordered, 95)),
            least=_milliseconds(ordered[0]),
            most=_milliseconds(ordered[-1]),
        )

    def without(self, floor: "Times") -> "Times":
        """These figures with the *floor*'s taken off, each from its like."""
        return Times(
            count=self.count,
            p50=round(self.p50 - floor.p50, 1),
            p95=round(self.p95 - floor.p95, 1),
            least=round(self.least - floor.least, 1),
            most=round(self.most - floor.most, 1),
        )


class Ratio(BaseModel, frozen=True):
    """One side's figures over another's."""

    p50: float
    p95: float

    @classmethod
    def of(cls, times: Times, base: Times) -> "Ratio":
        """*times* over *base*."""
        return cls(p50=round(times.p50 / base.p50, 2), p95=round(times.p95 / base.p95, 2))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of the *ordered* values that is not exceeded by *percent* of them (nearest rank)."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle one of *values*; of an even number the lower one."""
    return percentile(sorted(values), 50)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
