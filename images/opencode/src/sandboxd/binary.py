"""Which of OpenCode's builds this machine runs."""

import platform
import re
from pathlib import Path


def find_binary(path: Path, *, cpuinfo: str | None = None) -> Path:
    """
    Return OpenCode's binary: *path* itself, or the right one of the platform packages in a node_modules directory.

    The choice is that of the npm package ``opencode-ai``, whose install script is never run: a processor without AVX2
    gets the ``baseline`` build.

    Raises:
        FileNotFoundError: there is none.
    """
    if not path.is_dir():
        if path.is_file():
            return path
        raise FileNotFoundError(path)
    names = ["opencode-linux-arm64"]
    if platform.machine() == "x86_64":
        names = ["opencode-linux-x64", "opencode-linux-x64-baseline"]
        if not re.search(r"\bavx2\b", Path("/proc/cpuinfo").read_text() if cpuinfo is None else cpuinfo):
            names.reverse()
    for name in names:
        binary = path / name / "bin" / "opencode"
        if binary.is_file():
            return binary
    raise FileNotFoundError(f"no build of OpenCode for this machine in {path}")
