"""Where a stack keeps what: everything below the checkout, most of it in the stack's own state directory."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from local.stack.marks import mark_of

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one stack. Installed tools belong to the checkout and serve all its stacks."""

    state: Path
    stack_file: Path
    """stack.json: where the stack answers, for tests, scripts and the page."""

    @classmethod
    def of(cls, state: Path | None) -> "Layout":
        """The stack in that state directory; the default one without."""
        if state is None:
            return cls(CHECKOUT / ".local" / "stack", CHECKOUT / ".local" / "stack.json")
        return cls(state.absolute(), state.absolute() / "stack.json")

    @property
    def tools(self) -> Path:
        """Where the checkout's tools are installed."""
        return CHECKOUT / ".local"

    @property
    def pids(self) -> Path:
        """A file for each running part."""
        return self.state / "pids"

    @property
    def logs(self) -> Path:
        """A file for each part and each step of ``up``."""
        return self.state / "logs"

    @property
    def sandboxes(self) -> Path:
        """A directory for each sandbox."""
        return self.state / "sandboxes"

    @property
    def idp(self) -> Path:
        """What the local identity provider keeps; also the certificate that sandboxes trust it by."""
        return self.state / "idp"

    @property
    def builds(self) -> Path:
        """What ``sam build`` made last in this checkout, each under the fingerprint of what it is made of."""
        return self.tools / "builds"

    @property
    def mark(self) -> dict[str, str]:
        """The variable that each process of this stack carries."""
        return mark_of(self.state)

    def clean_environment(self) -> dict[str, str]:
        """What a part may know of the developer's environment: where programs are, and nothing else."""
        home, temporary = self.state / "home", self.state / "tmp"
        home.mkdir(parents=True, exist_ok=True)
        temporary.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "PYTHONUNBUFFERED": "1",
            **self.mark,
        }


def fingerprint(*inputs: object) -> str:
    """A short name for what something is made of: paths count with all that is in them, the rest as it prints."""
    digest = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            for path in sorted(files_below(item)):
                digest.update(f"{path.relative_to(CHECKOUT)}\0{path.stat().st_mode & 0o100}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        else:
            digest.update(f"{item!r}\0".encode())
    return digest.hexdigest()[:16]


def files_below(path: Path) -> list[Path]:
    """The files that somebody wrote, not those that tools left beside them."""
    if path.is_file():
        return [path]
    made = {"__pycache__", "node_modules", "dist", ".venv"}
    found = []
    for directory, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name not in made and not name.endswith(".egg-info")]
        found += [Path(directory, name) for name in names]
    return found
