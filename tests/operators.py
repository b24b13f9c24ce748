"""Reading what functions put out: lines of the log, and metrics in CloudWatch's embedded format."""

import json
from typing import Any


def lines(out: str) -> list[dict[str, Any]]:
    """Return the JSON lines of *out*."""
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def logged(out: str, message: str) -> list[dict[str, Any]]:
    """Return the lines of the log with that message."""
    return [line for line in lines(out) if line.get("message") == message]


def emitted(out: str) -> list[tuple[str, dict[str, str], float]]:
    """Return each metric with its dimensions and value, in order."""
    found = []
    for line in lines(out):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            (names,) = directive["Dimensions"]
            dimensions = {name: line[name] for name in names}
            found += [(metric["Name"], dimensions, line[metric["Name"]][0]) for metric in directive["Metrics"]]
    return found
