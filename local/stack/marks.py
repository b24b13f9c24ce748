"""
The mark by which a stack knows its own processes.

A pid file may be lost, or name another process after a while. Every process that a stack starts carries an environment
variable instead, its children inherit it, and ``/proc`` shows it: nothing of the stack escapes ``down``.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

VARIABLE = "THREADBOX_STACK"


def mark_of(state: Path) -> dict[str, str]:
    """The variable that processes of the stack in *state* carry. It tells nothing about the place."""
    return {VARIABLE: hashlib.sha256(str(state).encode()).hexdigest()[:16]}


def inherited_mark(environment: Mapping[str, str]) -> dict[str, str]:
    """The mark this process itself carries, if any."""
    return {VARIABLE: environment[VARIABLE]} if VARIABLE in environment else {}


def marked_processes(mark: Mapping[str, str]) -> Iterator[int]:
    """Every process that carries the mark and is not a zombie."""
    wanted = f"{VARIABLE}={mark[VARIABLE]}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            # A zombie's environment is empty, so it does not count.
            variables = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in variables:
            yield int(path.parent.name)
