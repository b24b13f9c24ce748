"""
Commands that the control plane has run, each below a launcher of its own (``launcher``).

    running ── ended by itself, its timeout, a kill, the sandbox's end ──▶ ended

A command's end is the end of all that it started. One that has an id is looked at by it while it runs, and after its
end until newer ones need its place.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sandboxd.agent_home import AgentHome
from sandboxd.children import Children
from sandboxd.errors import NoExecError, NotReadyError, PathConflictError, SandboxdError, TooManyExecsError
from sandboxd.launcher import END_SECONDS, KILLED, Ended, Order
from sandboxd.output import Kept
from sandboxd.patience import in_time
from sandboxd.pipes import input_of, pipe
from sandboxd.tasks import Tasks

logger = logging.getLogger(__name__)

TIMED_OUT = 124
PIECE_BYTES = 64 * 1024
# Its output may still be on its way when a command has ended, unless somebody else holds the other end.
DRAIN_SECONDS = 1
ENDED_BYTES = 16 * 1024 * 1024
ENDED_COUNT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run: ``cwd`` are names below the workspace, ``env`` comes on top of the agent's environment."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Sequence[str] = ()
    stdin: bytes | None = None
    timeout: float


class Command:
    """One run of a program."""

    def __init__(self, program: Program, *, home: AgentHome, children: Children) -> None:
        self._program = program
        self._home = home
        self._children = children
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._timed_out = False
        self._begun = time.monotonic()
        self._changed = asyncio.Event()
        self.ended = asyncio.Event()
        self.failure: SandboxdError | None = None
        self.exit_code: int | None = None
        self.duration_ms: int | None = None
        self.stdout = Kept()
        self.stderr = Kept()

    @property
    def age_ms(self) -> int:
        """How long it took, or has taken until now."""
        return int((time.monotonic() - self._begun) * 1000) if self.duration_ms is None else self.duration_ms

    @property
    def streams(self) -> tuple[Kept, Kept]:
        """What it prints: stdout, stderr."""
        return self.stdout, self.stderr

    def kill(self) -> None:
        """Have all of it killed; ``ended`` tells when that is done."""
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_WR)

    async def changed(self, seconds: float) -> None:
        """Return when it has printed something or ended, or after *seconds*."""
        self._changed.clear()
        if not self.ended.is_set():
            await in_time(self._changed.wait(), seconds)

    async def run(self) -> None:
        """Run it to its end. What keeps it from being run is its ``failure``."""
        try:
            said = await self._run()
            if failed := said.get("failed"):
                self.failure = PathConflictError("there is no such directory") if failed == "cwd" else SandboxdError()
            self.exit_code = said.get("exit_code", KILLED)
            if self._timed_out and self.exit_code == KILLED:
                self.exit_code = TIMED_OUT
        except OSError as exc:
            logger.warning("a command cannot be run: %s", exc)
            self.failure = NotReadyError("there is no process to be had")
        finally:
            self._ours.close()
            self._theirs.close()
            self.duration_ms = self.age_ms
            self.exit_code = KILLED if self.exit_code is None else self.exit_code
            for stream in self.streams:
                stream.close()
            self.ended.set()
            self._changed.set()

    async def _run(self) -> Ended:
        async with pipe(self._home) as stdout, pipe(self._home) as stderr:
            try:
                with input_of(self._program.stdin) as stdin:
                    process = await self._children.start(
                        "sandboxd.launcher",
                        str(self._theirs.fileno()),
                        stdin=stdin,
                        stdout=stdout.descriptor,
                        stderr=stderr.descriptor,
                        descriptors=(self._theirs.fileno(),),
                    )
            finally:
                for descriptor in (stdout.descriptor, stderr.descriptor):
                    os.close(descriptor)
                self._theirs.close()
            timeout = asyncio.get_running_loop().call_later(self._program.timeout, self._time_out)
            streams = [
                asyncio.create_task(self._keep(stdout.reader, self.stdout)),
                asyncio.create_task(self._keep(stderr.reader, self.stderr)),
            ]
            try:
                return await self._command(process)
            finally:
                timeout.cancel()
                _, late = await asyncio.wait(streams, timeout=DRAIN_SECONDS)
                for task in late:
                    task.cancel()

    async def _command(self, process: Process) -> Ended:
        """Order it, and wait for its end: a launcher that is told to kill has its bound, and so has this wait."""
        loop = asyncio.get_running_loop()
        order = Order(
            argv=list(self._program.argv),
            env=self._home.environment(dict(os.environ)) | dict(self._program.env),
            workspace=str(self._home.workspace),
            cwd=list(self._program.cwd),
            uid=self._home.uid if self._home.second_user else 0,
            gid=self._home.gid,
        )
        said = b""
        try:
            async with asyncio.timeout(self._program.timeout + 2 * END_SECONDS):
                with contextlib.suppress(ConnectionError):
                    await loop.sock_sendall(self._ours, json.dumps(order).encode() + b"\n")
                    while more := await loop.sock_recv(self._ours, PIECE_BYTES):
                        said += more
                await self._children.wait(process)
        except TimeoutError:
            logger.warning("a launcher does not end")
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(self._children.wait(process))
        if not said:
            logger.warning("a launcher ended without a word")
        ended: Ended = json.loads(said or b"{}")
        return ended

    async def _keep(self, reader: asyncio.StreamReader, kept: Kept) -> None:
        while piece := await reader.read(PIECE_BYTES):
            kept.add(piece)
            self._changed.set()

    def _time_out(self) -> None:
        self._timed_out = True
        self.kill()


class Commands:
    """All of them. *busy* is entered for as long as one runs."""

    def __init__(
        self,
        *,
        home: AgentHome,
        children: Children,
        tasks: Tasks,
        parallel: int,
        busy: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._home = home
        self._children = children
        self._tasks = tasks
        self._parallel = parallel
        self._busy = busy
        self._running: set[Command] = set()
        self._by_id: dict[str, Command] = {}
        self._closed = False

    def start(self, program: Program, exec_id: str | None = None) -> Command:
        """
        Start one, in the background; of an id that there is already, return that one.

        Raises:
            TooManyExecsError: as many run as may.
            NotReadyError: the sandbox is about to end.
        """
        if exec_id is not None and exec_id in self._by_id:
            return self._by_id[exec_id]
        if self._closed:
            raise NotReadyError
        if len(self._running) >= self._parallel:
            raise TooManyExecsError
        command = Command(program, home=self._home, children=self._children)
        self._running.add(command)
        if exec_id is not None:
            self._by_id[exec_id] = command
        self._tasks.spawn(self._run(command))
        return command

    async def run(self, program: Program) -> Command:
        """
        Run one, and return it when it has ended.

        Raises:
            SandboxdError: it could not be run.
        """
        command = self.start(program)
        try:
            await command.ended.wait()
        finally:
            # Whoever waited for it has gone.
            command.kill()
        if command.failure is not None:
            raise command.failure
        return command

    def find(self, exec_id: str) -> Command:
        """
        Return the one with that id.

        Raises:
            NoExecError: there is none, or not any more.
        """
        command = self._by_id.get(exec_id)
        if command is None:
            raise NoExecError
        return command

    async def close(self) -> None:
        """Kill all, and wait until they have ended."""
        self._closed = True
        running = list(self._running)
        for command in running:
            command.kill()
        await in_time(asyncio.gather(*(command.ended.wait() for command in running)), END_SECONDS)

    async def _run(self, command: Command) -> None:
        try:
            with self._busy("exec"):
                await command.run()
        finally:
            self._running.discard(command)
            self._forget()

    def _forget(self) -> None:
        """Drop those that ended first, as far as there are too many."""
        ended = [exec_id for exec_id, command in self._by_id.items() if command.ended.is_set()]
        held = sum(len(self._by_id[exec_id].stdout) + len(self._by_id[exec_id].stderr) for exec_id in ended)
        count = len(ended)
        for exec_id in ended:
            if held <= ENDED_BYTES and count <= ENDED_COUNT:
                return
            command = self._by_id.pop(exec_id)
            held -= len(command.stdout) + len(command.stderr)
            count -= 1
