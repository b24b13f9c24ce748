"""The processes of a running stack, found in /proc, and the memory that each part takes."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

PSS = "Pss:"


def descendants(pid: int) -> Iterator[int]:
    """The processes that *pid* has started, those that these have, and so on."""
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in path.read_text().split():
                yield int(child)
                yield from descendants(int(child))


def command(pid: int) -> list[str]:
    """The command line of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def is_opencode(pid: int) -> bool:
    """Whether the process is an OpenCode server."""
    words = command(pid)
    return bool(words) and Path(words[0]).name == "opencode" and "serve" in words


def started_at(pid: int) -> int:
    """When the process started, in the kernel's clock ticks; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def parent(pid: int) -> int:
    """The process that *pid* is a child of; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def megabytes(pid: int) -> float:
    """The process's share of memory (PSS), 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(PSS)), 0)


def memory(parts: Mapping[str, int], *, bare: int, sandboxes: int) -> dict[str, int]:
    """
    What each part takes, in MB.

    Args:
        parts: the process of each part of the local stack.
        bare: the process of the bare server.
        sandboxes: how many sandboxes run; their figures are for one of them.

    """
    inside = {pid: megabytes(pid) for pid in descendants(parts["ecs"])}
    opencode = sum(share for pid, share in inside.items() if is_opencode(pid))
    figures = {
        "bare OpenCode": megabytes(bare),
        "OpenCode in a sandbox": opencode / sandboxes,
        "sandboxd and the container's processes": (sum(inside.values()) - opencode) / sandboxes,
        "functions (all warm workers)": sum(megabytes(pid) for pid in descendants(parts["aws"])),
        "embedded AWS without them": megabytes(parts["aws"]),
        "WebSocket gateway": megabytes(parts["gateway"]),
        "local ECS": megabytes(parts["ecs"]),
    }
    return {name: round(share) for name, share in figures.items()}


def opencode_version(image: Path) -> str:
    """The version of OpenCode that the image's lock file names."""
    packages = json.loads((image / "package-lock.json").read_text())["packages"]
    return next(str(entry["version"]) for path, entry in packages.items() if "opencode-" in path)
