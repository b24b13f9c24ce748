"""What the container image holds, found in the checkout, and where it lies inside a sandbox."""

import platform
from dataclasses import dataclass
from pathlib import Path

INSIDE_SANDBOXD = Path("/opt/sandboxd")
INSIDE_OPENCODE = Path("/opt/opencode/bin/opencode")
INSIDE_WORKSPACE = Path("/workspace")
INSIDE_HOME = Path("/home/agent")
SANDBOXD, AGENT = 1000, 1001
"""The user and group ids of sandboxd and the agent, the same as in the Dockerfile."""


class ImageIncompleteError(Exception):
    """A part of the image is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The parts of the image, where they are on this machine."""

    environment: Path
    """The virtual environment sandboxd runs in."""
    source: Path
    """The folder that holds the package ``sandboxd``."""
    opencode: Path
    """OpenCode's executable."""

    @classmethod
    def find(cls, directory: Path) -> "Image":
        """The image whose parts are installed in *directory* (``images/opencode``)."""
        directory = directory.absolute()
        return cls(
            environment=directory / ".venv",
            source=directory / "src",
            opencode=_opencode(directory / "node_modules"),
        )

    def check(self) -> None:
        """
        All parts are there.

        Raises:
            ImageIncompleteError: names the one that is not.

        """
        for path in (self.python, self.source / "sandboxd", self.opencode):
            if not path.exists():
                raise ImageIncompleteError(f"{path} is missing")

    @property
    def python(self) -> Path:
        """The interpreter that runs sandboxd."""
        return self.environment / "bin" / "python"

    def interpreter_prefixes(self) -> list[Path]:
        """
        The folders outside the virtual environment that its interpreter needs.

        A virtual environment links to an interpreter somewhere else, at times through more links. Every folder on
        the way has to exist under its own name for the interpreter to find its library.
        """
        prefixes = []
        link = self.python
        while link.is_symlink():
            link = link.parent / link.readlink()
            prefix = link.parent.parent
            if prefix != self.environment and prefix not in prefixes:
                prefixes.append(prefix)
        real = self.python.resolve().parent.parent
        return prefixes if real in prefixes else [*prefixes, real]


def _opencode(packages: Path) -> Path:
    """The executable for this processor: the one for newer processors if this is one and it is installed."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    fast = packages / f"opencode-linux-{machine}" / "bin" / "opencode"
    baseline = packages / f"opencode-linux-{machine}-baseline" / "bin" / "opencode"
    has_avx2 = "avx2" in Path("/proc/cpuinfo").read_text()
    return baseline if baseline.exists() and not (has_avx2 and fast.exists()) else fast
