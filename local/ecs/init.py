"""
Stands in for a container's PID namespace where there is none: ``python -m local.ecs.init PARENT COMMAND...``.

Runs the command. When the command ends, everything it started ends, however deep. The same happens on SIGQUIT, which
the kernel also sends when the parent process ends in whatever way. SIGTERM is handed to the command.
"""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ENDING = (signal.SIGQUIT, signal.SIGTERM)

libc = ctypes.CDLL(None, use_errno=True)


def begin_below() -> None:
    """Have the kernel kill this process, the command to be, when the one that started it ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def descendants(pid: int) -> list[int]:
    """Everything below *pid* in the process table, nearest first."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = [int(child) for child in children.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in below:
            found += [child, *descendants(child)]
    return found


def end_all() -> None:
    """Kill and reap until this process, to whom all orphans below it come, has no child left."""
    while below := descendants(os.getpid()):
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.wait()
        except ChildProcessError:
            return


def main(parent: int, command: list[str]) -> int:
    """Run the command; its exit code as a shell would tell it."""
    # What would end this process waits until it knows whom it would leave behind.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
    if os.getppid() != parent:
        return 1
    child = subprocess.Popen(command, preexec_fn=begin_below)  # noqa: PLW1509 - there are no threads here

    def quit_now(_number: int, _frame: object) -> None:
        end_all()
        os._exit(128 + signal.SIGKILL)

    signal.signal(signal.SIGQUIT, quit_now)
    signal.signal(signal.SIGTERM, lambda _number, _frame: child.send_signal(signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            break
    end_all()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
