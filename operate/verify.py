"""
``make verify-aws ENV=…``: checks on a real account what cannot be proven without one, and prints a table (docs/deploy.md).

It starts one sandbox and one short-lived function, asks one question, and removes all three. A check that could not be
made says so; the exit code is 1 when one failed.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from operate.checks import CHECKS, Finding, Subject, Verdict
from operate.stacks import LOCAL, DeployedStack, NoStackError
from operate.steps import BROKEN, StepFailedError, say


def main() -> int:
    """Check; 0 when nothing failed."""
    parser = argparse.ArgumentParser(prog="operate.verify", description=__doc__)
    parser.add_argument("--env", required=True, help="an environment of samconfig.toml")
    parser.add_argument("--only", choices=[*CHECKS], action="append", help="some of the checks; may be repeated")
    asked = parser.parse_args()
    if asked.env == LOCAL:
        parser.error("the embedded AWS proves nothing of what is checked here")
    try:
        subject = Subject.of(DeployedStack.of(asked.env))
    except (NoStackError, BotoCoreError, ClientError) as error:
        print(f"make verify-aws failed: {error}", file=sys.stderr)
        return 1
    results = run(subject, {name: CHECKS[name] for name in asked.only or CHECKS})
    print(table(results))
    return int(any(finding.verdict == "FAILED" for result in results for finding in result.findings))


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found."""

    name: str
    findings: list[Finding]


def run(subject: Subject, checks: dict[str, Callable[[Subject], list[Finding]]]) -> list[Result]:
    """Do the checks in their order; one that breaks down keeps no other from being done."""
    results = []
    for name, check in checks.items():
        say(f"… {name}")
        try:
            findings = check(subject)
        except (*BROKEN, StepFailedError, KeyError) as error:
            findings = [Finding("unknown", f"{type(error).__name__}: {error}")]
        results.append(Result(name, findings))
    return results


def table(results: list[Result]) -> str:
    """Return them as a table."""
    words: dict[Verdict, str] = {"ok": "ok", "FAILED": "FAILED", "unknown": "not known", "look": "look"}
    lines = ["", f"{'check':<16} {'':<10} what was found"]
    for result in results:
        lines += [f"{result.name:<16} {words[found.verdict]:<10} {found.told}" for found in result.findings]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
