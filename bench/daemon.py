"""
sandboxd by itself: what it takes of memory, and what it adds to a call that it passes on to OpenCode.

Both ways of a call lead to the same OpenCode, one of them past sandboxd, by turns, so that nothing but the way differs.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

import httpx
from pydantic import BaseModel

from bench.bare import PASSWORD
from bench.figures import Times
from bench.processes import command, megabytes, parent
from local.stack.aws_clients import client
from local.stack.stack_file import StackFile
from threadbox.control import Access, SandboxControlClient

CONTROL = "threadbox-sandbox-ctl"
PATH = "/session/status"
CALL_SECONDS = 10
READY_SECONDS = 120
LOOK_SECONDS = 0.02
MEMORY_AIM = 120
ADDED_AIM = 3.0


class Daemon(BaseModel, frozen=True):
    """What a run found of it. Memory is PSS, in MB."""

    idle: float
    """Booted, nothing asked yet."""
    used: float
    """After all the run's turns of one tab, the long answers among them."""
    direct: Times
    passed_on: Times

    @property
    def added(self) -> float:
        """Milliseconds that a call takes longer, at the middle."""
        return round(self.passed_on.p50 - self.direct.p50, 1)


async def until_ready(stack: StackFile, thread: str) -> Access:
    """Have the thread's sandbox started, and wait until it is ready, as a turn does."""
    control = SandboxControlClient(client=client("lambda", stack.aws_url), function=CONTROL)
    generation = None
    async with asyncio.timeout(READY_SECONDS):
        while True:
            found = await asyncio.to_thread(control.ensure, thread, scope="turn", waiting_for=generation)
            if isinstance(found, Access):
                return found
            generation = found.generation
            await asyncio.sleep(LOOK_SECONDS)


def sandboxd_memory(opencode: int) -> float:
    """What the sandboxd of that OpenCode takes."""
    return round(megabytes(parent(opencode)), 1)


async def calls(access: Access, opencode: int, count: int) -> tuple[list[float], list[float]]:
    """Seconds of *count* calls to OpenCode: past sandboxd, and through it. The first of each is not counted."""
    words = command(opencode)
    direct_url = f"http://127.0.0.1:{words[words.index('--port') + 1]}"
    through = httpx.AsyncClient(
        base_url=access.url, headers={"authorization": f"Bearer {access.token}"}, trust_env=False, timeout=CALL_SECONDS
    )
    past = httpx.AsyncClient(
        base_url=direct_url, auth=("opencode", _environment(opencode)[PASSWORD]), trust_env=False, timeout=CALL_SECONDS
    )
    found: tuple[list[float], list[float]] = ([], [])
    async with past, through:
        for number in range(-1, count):
            for seconds, http in zip(found, (past, through), strict=True):
                start = perf_counter()
                (await http.get(PATH)).raise_for_status()
                if number >= 0:
                    seconds.append(perf_counter() - start)
    return found


def _environment(pid: int) -> Mapping[str, str]:
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")[:-1]
    return dict(variable.split("=", 1) for variable in variables)
