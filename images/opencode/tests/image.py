"""The image, built in a chroot by its own Dockerfile, and sandboxd in it as a task on Fargate has it: process 1."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from harness import IMAGE, ControlPlane, Sandboxd, free_address, metadata, until_listening

CHECKOUT = IMAGE.parent.parent
if str(CHECKOUT) not in sys.path:
    sys.path.append(str(CHECKOUT))

from local.image.chroot import DROPPED, GRANTED, entering, environment, joining  # noqa: E402 - found where it was just added

PORT = 4096
STOP_SECONDS = 20
"""Within which a container ends that is told to."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was built: its files, and what it says about itself."""

    root: Path
    facts: dict[str, Any]

    @classmethod
    def build(cls, directory: Path) -> "Image":
        """Build it there; what that prints is the test's output."""
        command = [sys.executable, "-m", "local.image", str(directory)]
        subprocess.run(command, cwd=CHECKOUT, check=True)
        facts = json.loads((directory / "image.json").read_text())
        return cls(Path(facts["root"]), facts)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs."""

    image: Image
    sandboxd: Sandboxd
    host: str

    @property
    def pid(self) -> int:
        """Process 1 of the container, as this machine numbers it."""
        return children(self.sandboxd.process.pid)[0]

    def opencode(self) -> int:
        """OpenCode's process, numbered alike."""
        return next(pid for pid in children(self.pid) if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes())

    def status(self, pid: int) -> dict[str, str]:
        """What the kernel says of a process."""
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def execute(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command beside it, as whoever checks its health does."""
        return subprocess.run(
            joining(self.pid, command), env=environment(self.image.facts["environment"]),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def healthy(self) -> bool:
        """What the image's health check says; all containers of this machine have one network, so with an address."""
        return self.execute([*self.image.facts["healthcheck"], self.host]).returncode == 0


def children(pid: int) -> list[int]:
    """The child processes of *pid*."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def container(image: Image, directory: Path) -> Iterator[Container]:
    """A container of the image, listening; ended on the way out. Its log is in *directory*."""
    plane = ControlPlane()
    host = free_address()
    granted = [name for name in GRANTED if name not in DROPPED]
    with metadata(plane.audience) as uri, (directory / "log").open("wb") as log:
        told = {
            "SANDBOXD_CALL_KEYS": json.dumps(plane.public_keys),
            "ECS_CONTAINER_METADATA_URI_V4": uri,
            "SANDBOXD_HOST": host,
            "SANDBOXD_BOOT_SECONDS": "90",  # a busy machine is not what is tested
        }
        process = subprocess.Popen(
            entering(image.root, image.facts["entrypoint"], granted=granted),
            env=environment({**image.facts["environment"], **told}), stdout=log, stderr=log, cwd="/",
        )  # fmt: skip
        with httpx.Client(base_url=f"http://{host}:{PORT}", trust_env=False, timeout=30) as client:
            sandboxd = Sandboxd(str(client.base_url), process, plane, directory, client)
            try:
                until_listening(process, host, PORT, directory / "log")
                yield Container(image, sandboxd, host)
            finally:
                with contextlib.suppress(IndexError, ProcessLookupError, FileNotFoundError):
                    os.kill(children(process.pid)[0], 9)
                process.kill()
                process.wait()
