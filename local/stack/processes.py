"""The background processes of a stack: started, found again, and ended, by this and by later commands."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import httpx
from pydantic import BaseModel, ValidationError

from local.stack.layout import Layout
from local.stack.marks import marked_processes
from local.stack.ports import is_free

POLL_SECONDS = 0.03
LOG_LINES_SHOWN = 30


class PartFailedError(Exception):
    """A part did not start, or did not end."""


class Part(BaseModel, frozen=True):
    """A program that runs in the background as long as the stack is up."""

    name: str
    port: int
    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str]
    made_of: str
    """Fingerprint of its program; it is started anew when that changes, or its command or environment."""
    ready_path: str
    """Answers 2xx when the part is ready."""
    start_seconds: float = 20
    stop_seconds: float = 10
    more_ports: tuple[int, ...] = ()
    """Others on which it listens."""


class Running(BaseModel, frozen=True):
    """A part that was started, as its pid file tells it."""

    pid: int
    started: int
    """The kernel's clock ticks at its start: tells it from a later process with the same pid."""
    made_of: str
    port: int
    more_ports: tuple[int, ...] = ()


class Processes:
    """The processes of one stack."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def find(self, name: str) -> Running | None:
        """The part, if it runs."""
        try:
            running = Running.model_validate_json((self._layout.pids / name).read_text())
        except (FileNotFoundError, ValidationError):
            return None
        return running if _started(running.pid) == running.started else None

    def running(self) -> dict[str, Running]:
        """All parts that run, by name."""
        files = self._layout.pids.glob("*")
        return {path.name: found for path in sorted(files) if (found := self.find(path.name)) is not None}

    def start(self, part: Part) -> None:
        """
        Have the part run as it is meant to be and wait until it is ready; what runs so already is left alone.

        Raises:
            PartFailedError: it ended, or was not ready in time; says what it wrote last.

        """
        running = self.find(part.name)
        if running is not None and running.made_of == part.made_of and is_ready(part):
            return
        self.stop(part.name, patience=part.stop_seconds)
        for port in (part.port, *part.more_ports):
            if not is_free(port):
                raise PartFailedError(f"something else listens on port {port}, where {part.name} belongs")
        log = self._layout.logs / f"{part.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            process = subprocess.Popen(
                part.command, cwd=part.directory, env=part.environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        self._layout.pids.mkdir(parents=True, exist_ok=True)
        started = _started(process.pid) or 0
        running = Running(
            pid=process.pid, started=started, made_of=part.made_of, port=part.port, more_ports=part.more_ports
        )
        (self._layout.pids / part.name).write_text(running.model_dump_json())
        if not wait_until(lambda: is_ready(part) or process.poll() is not None, seconds=part.start_seconds):
            process.kill()
            process.wait()
            raise PartFailedError(f"{part.name} was not ready after {part.start_seconds:.0f} s\n{last_lines(log)}")
        if process.poll() is not None:
            raise PartFailedError(f"{part.name} ended with {process.returncode}\n{last_lines(log)}")
        # It outlives this command, so its end is not for this command to collect.
        process.returncode = 0

    def stop(self, name: str, *, patience: float) -> None:
        """Ask a part to end, make it end after *patience* seconds, and wait until it is gone."""
        running = self.find(name)
        if running is not None:
            _signal(running.pid, signal.SIGTERM)
            if not wait_until(lambda: _started(running.pid) != running.started, seconds=patience):
                _signal(running.pid, signal.SIGKILL)
                wait_until(lambda: _started(running.pid) != running.started, seconds=patience)
        (self._layout.pids / name).unlink(missing_ok=True)

    def end_strays(self, *, of_this_command: bool = False) -> None:
        """
        End every process of this stack that belongs to no running part: what a killed part or command left behind.

        What this command itself has started counts only if asked for.

        Raises:
            PartFailedError: one would not end.

        """
        if not wait_until(lambda: not self._kill_strays(of_this_command=of_this_command), seconds=10):
            raise PartFailedError(f"these processes do not end: {self._strays(of_this_command=of_this_command)}")

    def _kill_strays(self, *, of_this_command: bool) -> list[int]:
        strays = self._strays(of_this_command=of_this_command)
        for pid in strays:
            _signal(pid, signal.SIGKILL)
        return strays

    def _strays(self, *, of_this_command: bool) -> list[int]:
        owners = {running.pid for running in self.running().values()}
        if not of_this_command:
            owners.add(os.getpid())
        return [pid for pid in marked_processes(self._layout.mark) if owners.isdisjoint(_lineage(pid))]


def is_ready(part: Part) -> bool:
    """Whether the part answers."""
    try:
        return httpx.get(f"http://127.0.0.1:{part.port}{part.ready_path}", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], object], *, seconds: float) -> bool:
    """Whether the condition came to hold in that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def last_lines(path: Path) -> str:
    """The end of a log, for an error message."""
    lines = path.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    return "\n".join([f"--- {path}", *lines])


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _started(pid: int) -> int | None:
    status = _status(pid)
    return int(status[19]) if status and status[0] != "Z" else None


def _lineage(pid: int) -> Iterable[int]:
    while pid > 1:
        yield pid
        status = _status(pid)
        pid = int(status[1]) if status else 0
