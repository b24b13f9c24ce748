"""Finding and killing the processes that a stack's parts run as."""

import os
import select
import signal
from pathlib import Path

import boto3

from local.stack.stack_file import StackFile
from threadbox.identifiers import thread_hash

DEATH_SECONDS = 10


def kill(pids: list[int]) -> None:
    """Kill the processes, of which there must be one at least, and return when they are dead."""
    assert pids, "there is nothing to kill"
    for pid in pids:
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            dead, _, _ = select.select([descriptor], [], [], DEATH_SECONDS)
        finally:
            os.close(descriptor)
        assert dead, f"{pid} does not die"


def workers(stack: StackFile, function: str) -> list[int]:
    """Return the processes in which the embedded AWS runs a function."""
    return [
        pid
        for pid, environment in _environments().items()
        if f"AWS_LAMBDA_FUNCTION_NAME={function}".encode() in environment
        and f"AWS_ENDPOINT_URL={stack.aws_url}".encode() in environment
    ]


def sandboxd_of(stack: StackFile, thread_id: str) -> int:
    """Return the process that is the thread's sandboxd."""
    ecs = boto3.client("ecs", endpoint_url=f"http://127.0.0.1:{stack.ports['ecs']}", region_name="us-east-1")
    (task,) = ecs.list_tasks(
        cluster=stack.outputs["ClusterArn"], startedBy=thread_hash(thread_id), desiredStatus="RUNNING"
    )["taskArns"]
    task_id = task.rsplit("/", 1)[1].encode()
    found = [
        pid
        for pid, environment in _environments().items()
        if any(variable.startswith(b"ECS_CONTAINER_METADATA") and task_id in variable for variable in environment)
        and not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"bwrap")
    ]
    (pid,) = found
    return pid


def opencode_of(sandboxd: int) -> int:
    """Return the child of sandboxd that is OpenCode, or around it; others come and go, as what saves the workspace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == sandboxd and b"serve" in words:
            found.append(int(process.name))
    (pid,) = found
    return pid


def _environments() -> dict[int, list[bytes]]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found[int(path.parent.name)] = path.read_bytes().split(b"\0")
        except OSError:
            continue
    return found
