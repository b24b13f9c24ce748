"""
What a cold start takes before the first event: imports and clients of each function, beside an empty function.

``python -m bench.cold`` prints it. Each is a fresh interpreter with compiled modules, several times in turn; taken are
the processor's time and the largest resident size, the median of each. Ratios hold on a busy machine, times do not.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from local.stack.template import read_template

RUNS = 9
TELL = "import resource as r; u = r.getrusage(r.RUSAGE_SELF); print(u.ru_utime + u.ru_stime, u.ru_maxrss / 1024)"
ALONE = """
from fastapi import FastAPI
from mangum import Mangum
app = FastAPI()
@app.get("/")
def root(): return {}
handler = Mangum(app, lifespan="off")
"""
EMPTY = ALONE + 'import boto3; table = boto3.resource("dynamodb").Table("t")\n'
"""What everything is held against: FastAPI behind Mangum, one route, one table. Nothing else is in it."""
BASE = "empty: FastAPI, Mangum, a table"
FUNCTIONS = {
    "ChatHttpFunction": "import chat.handler as handler; handler._app()",
    "ChatSocketFunction": "import chat.handler",
    "ChatTurnFunction": "import chat.handler",
    "ChatRecoverFunction": "import chat.handler",
    "OauthHttpFunction": "import oauth_proxy.handler as handler; handler._app()",
    "OauthStepFunction": "import oauth_proxy.handler",
    "SandboxCtlFunction": "import sandbox_ctl.handler",
    "SandboxCtlFunction, first request": "import sandbox_ctl.handler as handler; handler._app()",
}
# Those with an address, or a form.
KNOWN = {
    "CONNECTIONS_URL": "http://127.0.0.1:1",
    "AWS_ENDPOINT_URL_ECS": "http://127.0.0.1:1",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "SANDBOX_SIZES": "1=512/1024",
}


@dataclass(frozen=True, slots=True)
class Start:
    """One program's start: seconds of the processor, MB."""

    seconds: float
    megabytes: float


def measure(runs: int) -> dict[str, Start]:
    """Return the median start of each program, by name; the base is among them."""
    programs = {BASE: (EMPTY, {}), "the same without AWS": (ALONE, {})}
    programs |= {name: (program, variables(name.split(",", 1)[0])) for name, program in FUNCTIONS.items()}
    found: dict[str, list[Start]] = {name: [] for name in programs}
    # The first round compiles what is not compiled yet, and is not counted.
    for number in range(runs + 1):
        for name, (program, given) in programs.items():
            start = once(program, given)
            found[name] += [start] if number else []
    return {
        name: Start(median(start.seconds for start in starts), median(start.megabytes for start in starts))
        for name, starts in found.items()
    }


def once(program: str, given: Mapping[str, str]) -> Start:
    """Run a program in an interpreter of its own."""
    keys = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{TELL}"],
        env={"PATH": os.defpath, **keys, **given}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, megabytes = map(float, done.stdout.split())
    return Start(seconds, megabytes)


def variables(function: str) -> dict[str, str]:
    """Return variables that the function starts with; it calls nobody with them."""
    template = read_template()
    common = template["Globals"]["Function"]["Environment"]["Variables"]
    own = template["Resources"][function]["Properties"]["Environment"]["Variables"]
    return {name: KNOWN.get(name, "1") for name in (*common, *own)}


def ratios(starts: Mapping[str, Start]) -> dict[str, Start]:
    """Return each start as a multiple of the empty function's."""
    base = starts[BASE]
    return {name: Start(s.seconds / base.seconds, s.megabytes / base.megabytes) for name, s in starts.items()}


def table(starts: Mapping[str, Start]) -> str:
    """Return them as a table."""
    found = ratios(starts)
    lines = [f"{'cold start':<36} {'CPU ms':>8} {'ratio':>6} {'MB':>6} {'ratio':>6}"]
    for name, start in starts.items():
        times = f"{start.seconds * 1000:8.0f} {found[name].seconds:6.2f}"
        lines.append(f"{name:<36} {times} {start.megabytes:6.0f} {found[name].megabytes:6.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.cold", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    print(table(measure(parser.parse_args().runs)))
