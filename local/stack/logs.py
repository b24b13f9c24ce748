"""``make logs``: what the functions, the sandboxes, the identity provider and the WebSocket gateway wrote."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from local.stack.aws_clients import client
from local.stack.layout import Layout
from local.stack.stack_file import StackFile

GROUPS = "/aws/lambda/"
POLL_SECONDS = 1.0
OVERLAP_SECONDS = 10
FIRST_LINES = 200

Line = tuple[float, str, str]
"""When (Unix seconds), who, what."""


class FunctionLogs:
    """
    The functions' lines, from the embedded AWS.

    It has the lines of an invocation when that has ended: then all at once, in a stream of their own.
    """

    def __init__(self, file: StackFile) -> None:
        self._logs: Any = client("logs", file.aws_url)
        self._streams: set[str] = set()
        self._since = 0

    def read(self) -> Iterator[Line]:
        """The lines that came since the last call."""
        before, began = self._streams.copy(), time.time()
        for page in self._logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=GROUPS):
            for group in page["logGroups"]:
                yield from self._read_group(group["logGroupName"], before)
        self._since = int((began - OVERLAP_SECONDS) * 1000)

    def _read_group(self, group: str, before: set[str]) -> Iterator[Line]:
        events = self._logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=self._since)
        for page in events:
            for event in page["events"]:
                self._streams.add(event["logStreamName"])
                if event["logStreamName"] not in before:
                    yield event["timestamp"] / 1000, group.removeprefix(GROUPS), event["message"].rstrip()


class FileLogs:
    """Lines from files, of which more may come; a line's time is that of the file's last change."""

    def __init__(self, files: Callable[[], Iterable[tuple[str, Path]]]) -> None:
        """Take what finds the files, each with the name of who writes it."""
        self._files = files
        self._offsets: dict[Path, int] = {}

    def read(self) -> Iterator[Line]:
        """The whole lines that came since the last call."""
        for who, path in self._files():
            with path.open("rb") as log:
                # Shorter than it was: the file of a process that was started anew.
                start = self._offsets.get(path, 0) if path.stat().st_size >= self._offsets.get(path, 0) else 0
                log.seek(start)
                text, end, _ = log.read().rpartition(b"\n")
            self._offsets[path] = start + len(text) + len(end)
            changed = path.stat().st_mtime
            for line in text.decode(errors="replace").splitlines():
                yield changed, who, line


def log_files(layout: Layout) -> Iterator[tuple[str, Path]]:
    """The files of the sandboxes, of the identity provider and of the gateway."""
    for path in layout.sandboxes.glob("*/log"):
        yield f"sandbox {path.parent.name[:8]}", path
    for path in layout.logs.glob("idp.log"):
        yield "identity provider", path
    for path in layout.logs.glob("gateway.log"):
        yield "gateway", path


def logs(layout: Layout, say: Callable[[str], None], *, follow: bool) -> bool:
    """Say the last lines, and with *follow* go on until interrupted; False when the stack is not up."""
    file = StackFile.find(layout.stack_file)
    if file is None:
        say("The stack is not up.")
        return False
    functions, files = FunctionLogs(file), FileLogs(lambda: log_files(layout))
    _say_lines(_in_order(functions, files)[-FIRST_LINES:], say)
    while follow:
        time.sleep(POLL_SECONDS)
        _say_lines(_in_order(functions, files), say)
    return True


def _say_lines(lines: list[Line], say: Callable[[str], None]) -> None:
    for when, who, what in lines:
        clock = time.strftime("%H:%M:%S", time.localtime(when))
        say(f"{clock} {who}: {what}")


def _in_order(*sources: FunctionLogs | FileLogs) -> list[Line]:
    return sorted((line for source in sources for line in source.read()), key=lambda line: line[0])
