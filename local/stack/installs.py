"""What ``make up`` installs into the checkout, each only when what it is made from changed."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.stack.layout import CHECKOUT, Layout, fingerprint
from local.stack.processes import last_lines

UV = CHECKOUT / ".local" / "uv" / "bin" / "uv"


class CommandFailedError(Exception):
    """A command that ``up`` runs did not succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """Commands that make a directory from its inputs."""

    name: str
    inputs: tuple[Path, ...]
    result: Path
    """Exists when it was done."""
    commands: tuple[tuple[str, ...], ...]
    directory: Path = CHECKOUT
    environment: Mapping[str, str]

    def is_done(self, tools: Path) -> bool:
        """Whether the result is there and made of what the inputs are now."""
        stamp = self._stamp(tools)
        return self.result.exists() and stamp.exists() and stamp.read_text() == self._made_of()

    def do(self, layout: Layout) -> None:
        """
        Make the result if need be.

        Raises:
            CommandFailedError: a command failed; says what it wrote last.

        """
        if self.is_done(layout.tools):
            return
        # Two stacks of this checkout may start at the same time.
        with locked(layout.tools / "installed" / f"{self.name}.lock"):
            if self.is_done(layout.tools):
                return
            made_of = self._made_of()
            stamp = self._stamp(layout.tools)
            stamp.unlink(missing_ok=True)
            for command in self.commands:
                run(self.name, command, layout, directory=self.directory, environment=self.environment)
            # Last, so that an interrupted installation is done again.
            stamp.write_text(made_of)

    def _stamp(self, tools: Path) -> Path:
        return tools / "installed" / self.name

    def _made_of(self) -> str:
        return fingerprint(*self.inputs, sys.version, self.commands)


def installs() -> dict[str, Install]:
    """Everything there is to install, by name."""
    image, webapp = CHECKOUT / "images" / "opencode", CHECKOUT / "webapp"
    apps = CHECKOUT / "tests" / "browser" / "apps"
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")
    found = [
        _environment("ministack", CHECKOUT / "local" / "ministack", CHECKOUT / ".local" / "ministack"),
        _environment("sam", CHECKOUT / "local" / "sam", CHECKOUT / ".local" / "sam"),
        _environment("lint", CHECKOUT / "local" / "lint", CHECKOUT / ".local" / "lint"),
        _environment("sandboxd", image, image / ".venv"),
        Install(
            name="opencode",
            inputs=(image / "package.json", image / "package-lock.json", image / "install" / "opencode.sh"),
            result=image / "node_modules",
            # As the image's build does it, but with the builds for all processors.
            commands=(("sh", "install/opencode.sh", str(image)),),
            directory=image,
            environment=os.environ,
        ),
        Install(
            name="page-packages",
            inputs=(webapp / "package.json", webapp / "package-lock.json"),
            result=webapp / "node_modules",
            # As the lock file says, but "npm ci" refuses one without the optional packages of other platforms.
            commands=(("npm", "install", "--no-save", *quiet),),
            directory=webapp,
            environment=os.environ,
        ),
        *(
            Install(
                name=name,
                inputs=(app / "package.json", app / "package-lock.json"),
                result=app / "node_modules",
                commands=(("npm", "install", "--no-save", *quiet),),
                directory=app,
                environment=os.environ,
            )
            for name, app in {"older-hooks": apps / "older", "assistant": apps / "assistant"}.items()
        ),
        Install(
            name="page",
            inputs=(webapp,),
            result=webapp / "dist" / "index.html",
            commands=(("npm", "run", "build"),),
            directory=webapp,
            environment=os.environ,
        ),
    ]
    return {install.name: install for install in found}


def run(
    name: str, command: tuple[str, ...], layout: Layout, *, directory: Path = CHECKOUT, environment: Mapping[str, str]
) -> None:
    """
    Run a command, its output going to a log of that name.

    Raises:
        CommandFailedError: it failed; says what it wrote last.

    """
    log = layout.logs / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(
            command, cwd=directory, env={**environment, **layout.mark}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise CommandFailedError(f"{' '.join(command)}: ended with {done.returncode}\n{last_lines(log)}")


@contextmanager
def locked(path: Path, *, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Only one process at a time is in here; *waits* is called if that is another. The lock ends with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _environment(name: str, project: Path, target: Path) -> Install:
    sync = (str(UV), "sync", "--quiet", "--locked", "--no-dev", "--inexact", "--python", sys.executable)
    return Install(
        name=name,
        inputs=(project / "pyproject.toml", project / "uv.lock"),
        result=target / "bin" / "python",
        commands=((*sync, "--project", str(project)),),
        environment={**os.environ, "UV_PROJECT_ENVIRONMENT": str(target), "VIRTUAL_ENV": ""},
    )
