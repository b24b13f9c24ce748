"""
The metrics of the whole system, and the one way to emit them: as a line of the log, in CloudWatch's embedded format.

Each name with each value of its dimension is a metric that CloudWatch charges for by the month, so dimensions have few
values, which stand here. What has many (threads, users, models) belongs into the line of the log beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aws_lambda_powertools.metrics import EphemeralMetrics

Unit = Literal["Count", "Milliseconds"]


@dataclass(frozen=True, slots=True)
class Measure:
    """
    What a metric says, in which unit, and which values its one dimension has.

    A *share* is 0 or 1 for each occasion: its average is the share of ones, its number of samples the occasions.
    """

    says: str
    unit: Unit = "Count"
    dimensions: dict[str, tuple[str, ...]] = field(default_factory=dict)


OUTCOMES = ("completed", "aborted", "refused", "error")
"""How a turn ends; refused: for a reason that lies with its user or the operators' limits, so with no fault of ours."""
PHASES = ("requested", "pulling", "claiming", "restoring", "booting")
SIGNIN_OUTCOMES = (
    "connected",
    "denied",
    "timed_out",
    "cancelled",
    "superseded",
    "abandoned",
    "mismatch",
    "failed",
)

MEASURES: dict[str, Measure] = {
    "Turns": Measure("turns that ended", dimensions={"outcome": OUTCOMES}),
    "TurnFailures": Measure("share: turns that ended with an error that is not the user's"),
    "TurnTakeovers": Measure("turns gone on with after their function died"),
    "TimeToFirstToken": Measure(
        "from the turn's begin to its first text", "Milliseconds", {"sandbox": ("running", "started")}
    ),
    "InputTokens": Measure("tokens that models were given, as their providers count them"),
    "OutputTokens": Measure("tokens that models gave, as their providers count them"),
    "FramesPosted": Measure("frames of turns that sockets took"),
    "StartTime": Measure("what a phase of a sandbox's start took", "Milliseconds", {"phase": PHASES}),
    "WholeStartTime": Measure("what a sandbox's start took", "Milliseconds"),
    "StartFailures": Measure("share: starts of sandboxes that failed"),
    "Sandboxes": Measure("sandboxes that have not ended, seen every five minutes"),
    "Orphans": Measure("tasks that no sandbox had, ended by the sweeper"),
    "SweepErrors": Measure("what the sweeper could not see to"),
    "SignIns": Measure("sign-ins that ended", dimensions={"outcome": SIGNIN_OUTCOMES}),
    "SignInFailures": Measure("share: sign-ins that a sandbox failed in"),
    "VaultUnreadable": Measure("grants that did not open"),
    "VaultUnavailable": Measure("grants that could not be sealed for want of a key"),
    "Unhandled": Measure("what failed that nobody foresaw"),
    "AuditFailures": Measure("lines that the audit trail did not take"),
}


def emit(values: Mapping[str, float], **dimensions: str) -> None:
    """
    Emit metrics of these names that have the same *dimensions*, in the namespace of POWERTOOLS_METRICS_NAMESPACE.

    Raises:
        KeyError: there is no such metric.
        ValueError: its dimension has no such value.
    """
    # Without the service that Powertools would add as one more dimension: a name belongs to one service anyway.
    metrics = EphemeralMetrics(service="")
    for name, value in values.items():
        measure = MEASURES[name]
        if dimensions.keys() != measure.dimensions.keys() or any(
            dimensions[dimension] not in known for dimension, known in measure.dimensions.items()
        ):
            raise ValueError(f"{name} has no dimensions {dimensions}")
        metrics.add_metric(name, measure.unit, value)
    for dimension, one in dimensions.items():
        metrics.add_dimension(dimension, one)
    metrics.flush_metrics()


def count(name: str) -> None:
    """Emit that *name* has occurred once."""
    emit({name: 1})
