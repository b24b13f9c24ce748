"""
A command's parent, in a process of its own: it ends when everything that the command started has ended.

    sandboxd ──socket──▶ launcher ──▶ the command (the agent's user, a session of its own) ──▶ …
             ◀─ status ─

It is the child subreaper of what is below it: a process that loses its parent, however it went about that (a double
fork, a session of its own, another environment), becomes a child of the launcher. So whoever has no children left has
no descendants left. It stays sandboxd's user, whom the agent can neither signal nor trace; what reads paths, changes
directory and runs is a child that has become the agent.

The socket carries one line of JSON (an ``Order``) here, and one (how it ended) back. Its end, from sandboxd or with
it, is the order to kill.
"""

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from sandboxd import agent_user, kernel, paths

TOLD_BYTES = 96 * 1024
"""How long a command, or a variable's value, may be: Linux takes 128 KB of each."""
END_SECONDS = 10
ROUND_SECONDS = 0.02
KILLED = 128 + signal.SIGKILL
# When memory runs out, a command goes before OpenCode and sandboxd do.
OOM_SCORE = "500"


class Order(TypedDict):
    """What to run, where below ``workspace``, and as whom (0: the same user)."""

    argv: list[str]
    env: dict[str, str]
    workspace: str
    cwd: list[str]
    uid: int
    gid: int


class Ended(TypedDict, total=False):
    """How it ended: its exit code, 128 + n for signal n; or what kept it from being started, ``cwd`` or ``exec``."""

    exit_code: int
    failed: str


def main(arguments: Sequence[str]) -> None:
    """Read the order from the socket with that descriptor, carry it out to the last process, say how it ended."""
    descriptor = int(arguments[0])
    os.set_inheritable(descriptor, False)
    channel = socket.socket(fileno=descriptor)
    line = channel.makefile("rb").readline()
    if not line:
        return
    order: Order = json.loads(line)
    kernel.adopt_orphans()
    ended = Launcher(channel).run(order)
    # sandboxd may be gone.
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps(ended).encode() + b"\n")


class Launcher:
    """Runs one command."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._woken, waker = os.pipe()
        for end in (self._woken, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._pid = 0
        self._status: int | None = None

    def run(self, order: Order) -> Ended:
        """Run it until it ends or is to be killed; then end all it left behind."""
        self._pid, failed = _spawn(order)
        killed = False
        told_by: list[socket.socket | int] = [self._channel, self._woken]
        while self._status is None and not killed:
            readable, _, _ = select.select(told_by, [], [])
            self._collect()
            killed = self._channel in readable
        code = KILLED if self._status is None else _exit_code(self._status)
        self._end_all()
        return {"failed": failed} if failed else {"exit_code": code}

    def _end_all(self) -> None:
        """Kill the children until there are none: each round makes those of the killed ones ours."""
        deadline = time.monotonic() + END_SECONDS
        while self._collect() and time.monotonic() < deadline:
            for pid in kernel.children():
                # One may have become a user whom we cannot signal only without a second user.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            select.select([self._woken], [], [], ROUND_SECONDS)

    def _collect(self) -> bool:
        """Wait for those children that have ended; True while there are others."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pid:
                self._status = status


def _spawn(order: Order) -> tuple[int, str]:
    """Start the command; its process id, and what kept it from being started, if anything did."""
    parent = os.getpid()
    failed, fail = os.pipe()
    pid = os.fork()
    if pid == 0:
        stage = b"exec"
        try:
            os.setsid()
            # Python ignores it, and what is ignored stays so in whatever is run.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            with contextlib.suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
            agent_user.become(order["uid"], order["gid"])
            kernel.die_with_parent(parent)
            stage = b"cwd"
            with paths.directory(order["workspace"], order["cwd"]) as directory:
                os.fchdir(directory)
            stage = b"exec"
            os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - it is what this is for
        except (OSError, ValueError):
            os.write(fail, stage)
        finally:
            os._exit(127)
    os.close(fail)
    with os.fdopen(failed, "rb") as pipe:
        return pid, pipe.read().decode()


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
