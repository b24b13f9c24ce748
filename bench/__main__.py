"""``make bench``: measures Threadbox against the bare OpenCode server, on a stack of its own that goes in the end."""

import argparse
import asyncio
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench import report
from bench.model import NAME, ROOT, free_port, scripted_model
from bench.processes import opencode_version
from bench.results import Conditions, Results
from bench.run import FULL, QUICK, Run, Size
from local.stack.stack_file import StackFile

STATE = ROOT / ".local" / "bench"
SETTINGS = ("MODEL_", "THREADBOX_", "SANDBOX_", "SANDBOXES_", "TURNS_", "CODEX_")
# One user does more here than any would.
UNLIMITED = {"SANDBOXES_PER_USER": "1000", "TURNS_PER_MINUTE": "10000"}
UP_SECONDS = 600
INTERRUPTED = 130


def main() -> int:
    """Run, and give the exit code: 1 when words of an answer are wrong, or the number of sandboxes is."""
    parser = argparse.ArgumentParser(prog="bench", description="Threadbox against the bare OpenCode server")
    parser.add_argument("--quick", action="store_true", help="a small run that shows that all works; writes no files")
    parser.add_argument("--state", type=Path, default=STATE, help="directory of the stack; emptied first")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = bench(options.state.absolute(), QUICK if options.quick else FULL, quick=options.quick)
    except KeyboardInterrupt:
        return INTERRUPTED
    say("\n" + report.table(results))
    if not options.quick:
        report.write(results, ROOT)
    return verdict(results)


def verdict(results: Results) -> int:
    """The exit code; says what is wrong."""
    for name, tally in results.tallies.items():
        if not tally.intact:
            say(f"FAILED: {name}: {tally}")
    if not results.crowd.exact:
        say(f"FAILED: a crowd: {results.crowd}")
    return 0 if results.intact and results.crowd.exact else 1


def bench(state: Path, size: Size, *, quick: bool) -> Results:
    """Bring a stack up, measure, and bring it down, however that went."""
    load = os.getloadavg()[0]
    port = free_port()
    shutil.rmtree(state, ignore_errors=True)
    with stack_up(state, model_port=port) as stack:
        conditions = partial(conditions_now, load, quick=quick)
        return asyncio.run(measure(stack, state, size, port=port, conditions=conditions))


async def measure(
    stack: StackFile, state: Path, size: Size, *, port: int, conditions: Callable[[], Conditions]
) -> Results:
    """Measure on a stack that is up, whose model is to listen on *port*."""
    async with scripted_model(port) as url:
        run = Run(stack=stack, model_url=url, directory=state, size=size, say=say)
        return await run.go(conditions)


@contextmanager
def stack_up(state: Path, *, model_port: int) -> Iterator[StackFile]:
    """A stack whose sandboxes talk to the model on that port."""
    settings = {"MODEL_BASE_URL": f"http://127.0.0.1:{model_port}/v1", "MODEL_NAME": NAME}
    theirs = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    environment = theirs | settings | UNLIMITED | {"THREADBOX_STATE": str(state)}

    def stack(command: str) -> None:
        arguments = (sys.executable, "-m", "local.stack", command)
        # Of its own session, so that Ctrl-C reaches this process only, which then brings the stack down.
        subprocess.run(arguments, cwd=ROOT, env=environment, check=True, timeout=UP_SECONDS, start_new_session=True)

    try:
        stack("up")
        yield StackFile.model_validate_json((state / "stack.json").read_text())
    finally:
        stack("down")


def conditions_now(load_before: float, *, quick: bool) -> Conditions:
    """What the figures depend on."""
    commit = subprocess.run(
        ("git", "rev-parse", "--short", "HEAD"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    return Conditions(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        cores=os.cpu_count() or 1,
        load_before=round(load_before, 1),
        load_after=round(os.getloadavg()[0], 1),
        python=platform.python_version(),
        opencode=opencode_version(ROOT / "images" / "opencode"),
        commit=commit.stdout.strip(),
        command="make bench" + (" ARGS=--quick" if quick else ""),
    )


def say(text: str) -> None:
    """Tell the person in front of the screen."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
