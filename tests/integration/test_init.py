"""What stands in for a container's PID namespace: nothing of a task is left, whenever it is ended."""

import os
import signal
import subprocess
import sys

import pytest

from local.stack.marks import VARIABLE, marked_processes
from tests.stacks import ROOT
from tests.waiting import eventually

# The command's process begins only when its parent was told to end, as where many others want the processor.
SLOW = """
import os, sys, time
from local.ecs import init
begin, parent = init.begin_below, os.getpid()
def told_to_end():
    lines = open(f"/proc/{parent}/status").read().splitlines()
    return any(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd"))
def slowly():
    print("begun", flush=True)
    until = time.monotonic() + 10
    while os.getppid() == parent and not told_to_end() and time.monotonic() < until:
        os.sched_yield()
    begin()
init.begin_below = slowly
sys.exit(init.main(os.getppid(), ["sleep", "1000"]))
"""


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_task_that_is_ended_while_it_begins_leaves_nothing(number):
    """Its first process waits with its end until there is a second one that it can take along."""
    mark = {VARIABLE: f"init-{os.getpid()}-{number}"}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], cwd=ROOT, env=os.environ | mark, stdout=subprocess.PIPE
    ) as process:
        assert b"begun\n" == process.stdout.readline()
        process.send_signal(number)
        code = process.wait(30)

    eventually(lambda: list(marked_processes(mark)) == [])
    assert 128 + (signal.SIGKILL if number == signal.SIGQUIT else signal.SIGTERM) == code
