"""
Processes the agent left behind.

sandboxd is a container's process 1 (or, without a container, adopts its descendants): what it does not collect stays
a zombie, what it does not end outlives the sandbox.
"""

import asyncio
import os
import signal
from collections.abc import Collection
from pathlib import Path


def reap(known: Collection[int]) -> None:
    """Collect every ended child that nobody else (*known*: process ids with an owner of their own) waits for."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        # An owned child at the head of the queue hides those behind it, until its owner has collected it.
        if ended is None or ended.si_pid in known:
            return
        os.waitpid(ended.si_pid, os.WNOHANG)


async def end_all(*, rounds: int = 50) -> None:
    """Kill and collect all descendants: each round makes the next generation ours."""
    for _ in range(rounds):
        children = _children()
        if not children:
            return
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        reap(())
        await asyncio.sleep(0.02)


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]
