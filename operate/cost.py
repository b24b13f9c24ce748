"""
``make cost``: what a month costs, from assumptions that each have a name; ``make cost ARGS=--help`` lists them.

List prices of us-east-1, on demand, without the free tier (docs/cost.md). Models are not in it: their providers charge
them.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

from bench.prices import PRICES, Price

PRICED = "November 2026"
HOURS = 730
"""Of a month, as AWS reckons."""
MILLION = 1_000_000

MORE_PRICES = {
    "vcpu_x86": Price("Fargate vCPU-hours, x86-64", 40_480),
    "gb_x86": Price("Fargate GB-hours, x86-64", 4_445),
    "vcpu_arm": Price("Fargate vCPU-hours, arm64", 32_380),
    "gb_arm": Price("Fargate GB-hours, arm64", 3_560),
    "address": Price("public IPv4 address hours", 5_000),
    "nat": Price("NAT gateway hours", 45_000),
    "table_gb": Price("DynamoDB GB-months, with point-in-time recovery", 450_000),
    "s3_gb": Price("S3 GB-months", 23_000),
    "s3_puts": Price("S3 PUT, POST and LIST requests", 5),
    "kms_key": Price("KMS keys", 1_000_000),
    "secret": Price("Secrets Manager secrets", 400_000),
    "log_gb": Price("CloudWatch Logs, GB taken in", 500_000),
    "alarm": Price("CloudWatch alarms", 100_000),
    "metric": Price("CloudWatch metrics of one's own", 300_000),
    "dashboard": Price("CloudWatch dashboards", 3_000_000),
    "image_gb": Price("ECR GB-months", 100_000),
}
ALL_PRICES = PRICES | MORE_PRICES
"""Dollars for a million of each."""

# Counted by make bench (docs/performance.md): what a turn uses once, and each second of text or of silence.
ONCE = {"gb_seconds": 0.6, "invocations": 3, "write_units": 23, "read_units": 6, "messages": 9}
TEXT_SECOND = {"gb_seconds": 600 / 1024, "write_units": 10, "messages": 10}
SILENT_SECOND = {"gb_seconds": 600 / 1024, "write_units": 1}
SCHEDULED = {"invocations": 60 * HOURS + 12 * HOURS, "gb_seconds": 60 * HOURS * 0.05 + 12 * HOURS * 0.5}
"""A look for expired leases each minute, a sweep each five, also when nobody is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What somebody expects of a month."""

    threads: Annotated[int, "threads in which something is asked in the month"] = 1000
    idle_threads: Annotated[int, "threads that are only kept"] = 10_000
    sittings: Annotated[float, "times that a user comes back to a thread; each is one sandbox"] = 2
    turns: Annotated[float, "questions in a sitting"] = 5
    text_seconds: Annotated[float, "seconds of an answer in which text comes, ten frames each"] = 15
    silent_seconds: Annotated[float, "seconds of an answer in which the agent works and says nothing"] = 25
    sitting_minutes: Annotated[float, "from the first question of a sitting to its last answer"] = 10
    idle_minutes: Annotated[float, "until a sandbox that does nothing ends (SandboxIdleSeconds)"] = 15
    vcpu: Annotated[float, "processors of a sandbox (SandboxSize medium)"] = 1
    memory_gb: Annotated[float, "memory of a sandbox"] = 2
    arm: Annotated[bool, "sandboxes on arm64 (SandboxArchitecture)"] = False
    egress: Annotated[str, "dualstack, nat or own (Egress)"] = "dualstack"
    transcript_kb: Annotated[float, "what a thread has in the table"] = 40
    workspace_mb: Annotated[float, "what is kept of a thread's workspace, packed, all versions together"] = 100
    log_kb: Annotated[float, "log lines of a turn"] = 30
    alarms: Annotated[int, "CloudWatch alarms of the stack"] = 20
    metrics: Annotated[int, "CloudWatch metrics of the stack"] = 30


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill."""

    part: str
    what: str
    amount: float

    @property
    def dollars(self) -> float:
        """Its price in a month."""
        return self.amount * ALL_PRICES[self.what].per_million / MILLION


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the bill."""
    parser = argparse.ArgumentParser(prog="operate.cost", description=__doc__)
    for name, (value, meaning) in assumed().items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parser.add_argument(option, action="store_true", help=meaning)
        else:
            parser.add_argument(option, type=type(value), default=value, help=f"{meaning} (default: {value})")
    asked = vars(parser.parse_args(arguments))
    if asked["egress"] not in ("dualstack", "nat", "own"):
        parser.error("--egress is dualstack, nat or own")
    print(told(Assumptions(**asked)))
    return 0


def assumed() -> dict[str, tuple[Any, str]]:
    """Return the default and the meaning of each assumption, by name."""
    hints = get_type_hints(Assumptions, include_extras=True)
    return {
        each.name: (hints[each.name].__origin__(each.default), hints[each.name].__metadata__[0])
        for each in fields(Assumptions)
    }


def bill(given: Assumptions) -> list[Line]:
    """Return what the month is made of: what is there anyway, what is used, what is kept."""
    turns = given.threads * given.sittings * given.turns
    hours = given.threads * given.sittings * (given.sitting_minutes + given.idle_minutes) / 60
    used = {what: once * turns for what, once in ONCE.items()}
    for each, times in ((TEXT_SECOND, given.text_seconds), (SILENT_SECOND, given.silent_seconds)):
        for what, amount in each.items():
            used[what] += amount * times * turns
    used["connection_minutes"] = given.threads * given.sittings * given.sitting_minutes
    kind = "arm" if given.arm else "x86"
    kept = given.threads + given.idle_threads
    return [
        *(Line("fixed", what, amount) for what, amount in _fixed(given).items()),
        *(Line("turns", what, amount) for what, amount in used.items()),
        Line("turns", "log_gb", turns * given.log_kb / MILLION),
        Line("sandboxes", f"vcpu_{kind}", hours * given.vcpu),
        Line("sandboxes", f"gb_{kind}", hours * given.memory_gb),
        *([] if given.egress == "nat" else [Line("sandboxes", "address", hours)]),
        # What is kept of a workspace: two requests after a turn.
        Line("sandboxes", "s3_puts", 2 * turns),
        Line("kept", "table_gb", kept * given.transcript_kb / MILLION),
        Line("kept", "s3_gb", kept * given.workspace_mb / 1000),
    ]


def _fixed(given: Assumptions) -> dict[str, float]:
    nat = {"nat": HOURS, "address": HOURS} if given.egress == "nat" else {}
    watched = {"alarm": given.alarms, "metric": given.metrics, "dashboard": 1}
    return {"kms_key": 1, "secret": 2, "image_gb": 0.2 * 10, **watched, **SCHEDULED, **nat}


def told(given: Assumptions) -> str:
    """Return the bill as a table, below the assumptions that it rests on."""
    lines = [f"Assumed (prices of {PRICED}, us-east-1):"]
    lines += [f"  {meaning:<72} {getattr(given, name)}" for name, (_, meaning) in assumed().items()]
    lines += ["", f"{'in a month':<12} {'':<48} {'amount':>14} {'$ each':>14} {'$':>10}"]
    total = 0.0
    found = bill(given)
    for part in dict.fromkeys(line.part for line in found):
        mine = [line for line in found if line.part == part]
        for line in mine:
            price = ALL_PRICES[line.what]
            each = f"{price.per_million / MILLION:.8f}".rstrip("0").rstrip(".")
            lines.append(f"{part:<12} {price.title:<48} {line.amount:>14,.2f} {each:>14} {line.dollars:>10,.2f}")
        lines.append(f"{part:<12} {'all of it':<48} {'':>14} {'':>14} {sum(line.dollars for line in mine):>10,.2f}")
        total += sum(line.dollars for line in mine)
    lines.append(f"{'total':<12} {'':<48} {'':>14} {'':>14} {total:>10,.2f}")
    idle = Assumptions(threads=0, idle_threads=1, transcript_kb=given.transcript_kb, workspace_mb=given.workspace_mb)
    stored = sum(line.dollars for line in bill(idle) if line.part == "kept")
    lines.append(f"An idle thread: $0 of compute; what is kept of it is ${stored:.6f} a month.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
