"""
``python -m local.contract.opencode [VERSION]``: what of the facts we rely on holds for a version of OpenCode.

The version is installed beside the pinned one, under ``.local/opencode``; nothing of the checkout changes.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.stack.installs import UV
from local.stack.layout import CHECKOUT

IMAGE = CHECKOUT / "images" / "opencode"
INSTALLED = CHECKOUT / ".local" / "opencode"
BUILDS = ("opencode-linux-x64", "opencode-linux-x64-baseline", "opencode-linux-arm64")
SECONDS = 1500
REASON_CHARACTERS = 100
BROKE, NONSENSE = 1, 2
USAGE = """\
make opencode-contract [VERSION=X.Y.Z]

Runs what sandboxd relies on against that version of opencode-ai (without VERSION: the pinned one, {pinned}) and says
what holds and what broke. Ends with 0 when all of it holds, 1 when something broke, 2 when there is no such version.
"""


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact, and why it does not hold; *skipped*: it could not be asked here."""

    group: str
    text: str
    broken: str | None = None
    skipped: str | None = None


class NoSuchVersionError(Exception):
    """The registry does not have it for this machine."""


def main(asked: str) -> int:
    """Install it if need be, run the facts, print the table."""
    version = asked or pinned_version()
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", version):
        print(f"{version!r} is no version\n\n{USAGE.format(pinned=pinned_version())}", file=sys.stderr)
        return NONSENSE
    try:
        modules = install(version)
    except NoSuchVersionError as exc:
        print(f"opencode-ai {version} cannot be installed: {exc}\n", file=sys.stderr)
        print(USAGE.format(pinned=pinned_version()), file=sys.stderr)
        return NONSENSE
    began = time.monotonic()
    facts = run(modules)
    print(table(version, facts, seconds=time.monotonic() - began))
    return BROKE if not facts or any(fact.broken for fact in facts) else 0


def pinned_version() -> str:
    """The version that the image has."""
    dependencies = json.loads((IMAGE / "package.json").read_text())["dependencies"]
    return str(dependencies["opencode-linux-x64"])


def install(version: str) -> Path:
    """
    The node_modules directory that holds this version's builds for this machine.

    Raises:
        NoSuchVersionError: says what npm said.

    """
    target = INSTALLED / version
    modules = target / "node_modules"
    if not any(modules.glob("*/bin/opencode")):
        target.mkdir(parents=True, exist_ok=True)
        # Of the builds, npm takes those that are for this machine.
        wanted = {"private": True, "optionalDependencies": dict.fromkeys(BUILDS, version)}
        (target / "package.json").write_text(json.dumps(wanted))
        command = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")
        done = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False)
        if not any(modules.glob("*/bin/opencode")):
            raise NoSuchVersionError(_first_error(done.stderr))
    return modules


def run(modules: Path) -> list[Fact]:
    """Ask all facts of the OpenCode in *modules*; what pytest says goes to the screen only if it cannot run at all."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        command = (
            str(UV), "run", "--quiet", "--project", str(IMAGE), "pytest", "-q", "-c", str(IMAGE / "pyproject.toml"),
            "-m", "facts and not long", "-n", "2", "--dist", "loadfile", f"--junitxml={report}", str(IMAGE / "tests"),
        )  # fmt: skip
        environment = {**os.environ, "OPENCODE_MODULES": str(modules)}
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if not report.exists():
            print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
            return []
        return list(read_report(report.read_text()))


def read_report(text: str) -> Iterator[Fact]:
    """The facts of a JUnit report whose cases say theirs in a property."""
    for case in ET.fromstring(text).iter("testcase"):  # noqa: S314 - pytest wrote it
        told = case.find("properties/property[@name='fact']")
        group = case.get("classname", "").rpartition(".")[2].removeprefix("test_").replace("_", " ")
        failed = next((found for kind in ("failure", "error") if (found := case.find(kind)) is not None), None)
        skipped = case.find("skipped")
        yield Fact(
            group=group,
            text=str(told.get("value")) if told is not None else str(case.get("name")),
            broken=None if failed is None else reason(failed.get("message", "")),
            skipped=None if skipped is None else skipped.get("message", ""),
        )


def reason(message: str) -> str:
    """The first line of what a test said, short enough for a table."""
    first = next((line.strip() for line in message.splitlines() if line.strip()), "it failed")
    return first if len(first) <= REASON_CHARACTERS else first[: REASON_CHARACTERS - 1] + "…"


def table(version: str, facts: list[Fact], *, seconds: float) -> str:
    """What holds and what broke, group by group."""
    lines = []
    for group in dict.fromkeys(fact.group for fact in facts):
        lines.append(f"\n{group}")
        for fact in (fact for fact in facts if fact.group == group):
            sign = "BROKE  " if fact.broken else "skipped" if fact.skipped else "holds  "
            lines.append(f"  {sign}  {fact.text}")
            if fact.broken or fact.skipped:
                lines.append(f"           {fact.broken or fact.skipped}")
    broken = sum(bool(fact.broken) for fact in facts)
    skipped = sum(bool(fact.skipped) for fact in facts)
    verdict = f"{broken} of {len(facts)} broke" if broken else f"all {len(facts) - skipped} hold"
    extra = f", {skipped} skipped" if skipped else ""
    return "\n".join([*lines, f"\nopencode-ai {version}: {verdict}{extra} ({seconds:.0f} s)"])


def _first_error(text: str) -> str:
    lines = [line.removeprefix("npm error ").strip() for line in text.splitlines() if line.startswith("npm error ")]
    said = [line for line in lines if line and not line.startswith(("code ", "A complete log"))]
    return said[0] if said else "there is no build of it for this machine"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
