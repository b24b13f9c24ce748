"""Our own modules as child processes, and which children somebody waits for."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sandboxd import kernel
from sandboxd.agent_home import AgentHome
from sandboxd.kernel import Capability

FOR_THE_AGENT = (Capability.SETGID, Capability.SETUID, Capability.KILL)
"""What those hold that deal with the agent's processes and files."""

_SOURCES = Path(__file__).parent.parent
# Without what an installation adds to an interpreter, which is half of the time that it takes to start.
_RUN = "import sys; sys.path.append(sys.argv[1]); __import__(sys.argv[2], fromlist=['main']).main(sys.argv[3:])"


class Children:
    """Starts and names them: who collects orphans is to leave them to whoever waits for them."""

    def __init__(self, home: AgentHome) -> None:
        self._home = home
        self._waited_for: set[int] = set()
        self._being_started = 0

    @property
    def known(self) -> frozenset[int] | None:
        """Their process ids; None while one has none yet, when nobody can say whose an ended child is."""
        return None if self._being_started else frozenset(self._waited_for)

    async def start(
        self,
        module: str,
        *arguments: str,
        stdin: int,
        stdout: int,
        stderr: int | None,
        descriptors: Sequence[int] = (),
        limit: int = 64 * 1024,
    ) -> Process:
        """
        Run ``main`` of a *module* with the agent's environment, as sandboxd's user; ``wait`` for it, always.

        It may make its own children, or itself, the agent's, and end them, as sandboxd may.

        A line that is read from it has *limit* bytes at most.

        Raises:
            OSError: there is no process to be had.
        """
        self._being_started += 1
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", "-B", "-c", _RUN, str(_SOURCES), module),
                *arguments,
                cwd="/",
                env=self._home.environment(dict(os.environ)),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                limit=limit,
                pass_fds=descriptors,
                start_new_session=True,
                preexec_fn=partial(kernel.give_capabilities_to_exec, FOR_THE_AGENT) if self._home.second_user else None,
            )
            self._waited_for.add(process.pid)
        finally:
            self._being_started -= 1
        return process

    async def wait(self, process: Process) -> int:
        """Wait for its end, and return its exit status (negative: the signal that ended it)."""
        try:
            return await process.wait()
        finally:
            if process.returncode is not None:
                self._waited_for.discard(process.pid)
