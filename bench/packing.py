"""
Saving and restoring a workspace, as sandboxd does, against ``tar`` and ``zstd`` on the same disk.

Both sides write an archive to a file, and make files of one; both at the same level, and as unhurried as sandboxd
packs. S3 is left out: it would be the same for both.
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from bench.model import ROOT

IMAGE = ROOT / "images" / "opencode"
FILES, FILE_BYTES, FOLDER = 10_000, 10_000, 100
LEVEL, NICE = 3, 10
"""As in sandboxd's memory package."""
LIMITS = ("--size", str(1 << 30), "--content", str(1 << 32), "--entries", "200000")


def missing() -> str | None:
    """The program that this takes and that is not there."""
    return next((name for name in ("tar", "zstd") if shutil.which(name) is None), None)


def plant(workspace: Path) -> None:
    """Make 100 MB in 10,000 files: pieces of Python sources, each another."""
    library = Path(sys.modules["random"].__file__ or "").parent
    sources = b"".join(path.read_bytes() for path in sorted(library.glob("*.py")))
    dice = random.Random(1)  # noqa: S311 - not a secret
    for number in range(FILES):
        folder = workspace / f"folder-{number // FOLDER}"
        if number % FOLDER == 0:
            folder.mkdir(parents=True)
        start = dice.randrange(len(sources) - FILE_BYTES)
        (folder / f"file-{number}.py").write_bytes(sources[start : start + FILE_BYTES])


def measure(directory: Path, *, times: int, progress: Callable[[int], None]) -> dict[str, list[float]]:
    """Return the seconds of each way, taken in turns; *directory* is made, and gone in the end."""
    workspace = directory / "workspace"
    found: dict[str, list[float]] = {}
    try:
        plant(workspace)
        # The first of each is not counted: nothing is in the disk's cache.
        for number in range(-1, times):
            progress(number)
            for name, seconds in _once(directory, workspace).items():
                if number >= 0:
                    found.setdefault(name, []).append(seconds)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return found


def _once(directory: Path, workspace: Path) -> dict[str, float]:
    theirs, ours, out = directory / "theirs", directory / "ours", directory / "out"
    took = {
        "tar save": _shell(f"nice -n {NICE} sh -c 'tar -cf - -C {workspace} . | zstd -q -{LEVEL} -f -o {theirs}'"),
        "our save": _program("pack", workspace, ours, "wb"),
    }
    restores: dict[str, Callable[[], float]] = {
        "tar restore": lambda: _shell(f"zstd -q -d -c {theirs} | tar -xf - -C {out}"),
        "our restore": lambda: _program("unpack", out, ours, "rb"),
    }
    for name, restore in restores.items():
        out.mkdir()
        took[name] = restore()
        assert sum(1 for _ in out.rglob("*.py")) == FILES  # noqa: S101 - else nothing was measured
        shutil.rmtree(out)
    return took


def _shell(line: str) -> float:
    start = perf_counter()
    subprocess.run(line, shell=True, check=True)  # noqa: S602 - it is ours
    return perf_counter() - start


def _program(name: str, workspace: Path, archive: Path, mode: str) -> float:
    """Run one of sandboxd's two programs, as sandboxd does."""
    with archive.open(mode) as file:
        command = (
            *(IMAGE / ".venv" / "bin" / "python", "-P", "-m", f"sandboxd.memory.{name}"),
            *("--workspace", workspace, "--database", archive.with_name("no.db"), "--archive", str(file.fileno())),
            *LIMITS,
        )
        start = perf_counter()
        subprocess.run(
            command,
            env={"PYTHONPATH": str(IMAGE / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
            pass_fds=(file.fileno(),),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return perf_counter() - start
