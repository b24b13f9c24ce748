"""
Processes the agent left behind.

sandboxd is a container's process 1 (or, without a container, adopts its descendants): what it does not collect stays
a zombie, what it does not end outlives the sandbox.
"""

import asyncio
import os
import signal
from collections.abc import Collection

from sandboxd import kernel


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
        left = kernel.children()
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        reap(())
        await asyncio.sleep(0.02)
