"""A task's container: sandboxd as a child process that ends when this process ends, however it ends."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.ecs import image
from local.ecs.egress import Egress
from local.ecs.image import AGENT, INSIDE_SANDBOXD, Image, ImageIncompleteError
from local.ecs.isolation import Isolation, bubblewrap, places, prepare

SANDBOXD = ["-m", "sandboxd"]
INSIDE_PYTHON = INSIDE_SANDBOXD / ".venv" / "bin" / "python"
PORT = 4096


class ContainerStartError(Exception):
    """The container could not be started."""


class Container:
    """A running container."""

    def __init__(self, process: asyncio.subprocess.Process, *, namespace: int | None) -> None:
        """Take the child, and the first process of its PID namespace if it has one (as a pidfd)."""
        self._process = process
        self._namespace = namespace

    async def wait(self) -> int:
        """Wait until nothing of it runs; the exit code as a shell tells it (137 for killed)."""
        code = await self._process.wait()
        if self._namespace is not None:
            os.close(self._namespace)
            self._namespace = None
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """Ask its main process to end."""
        if self._process.returncode is not None:
            return
        if self._namespace is None:
            self._process.send_signal(signal.SIGTERM)
            return
        # Bubblewrap does not hand signals on, and it is itself the namespace's first process: ours is its child.
        first = _pid_of(self._namespace)
        for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split() if first else []:
            os.kill(int(pid), signal.SIGTERM)

    def kill(self) -> None:
        """End everything in it now."""
        if self._process.returncode is not None:
            return
        if self._namespace is None:
            self._process.send_signal(signal.SIGQUIT)
        else:
            signal.pidfd_send_signal(self._namespace, signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """Starts containers."""

    image: Image
    isolation: Isolation
    mark: Mapping[str, str]
    """The variable by which the local stack knows its own processes."""
    egress: Egress | None = None
    """The way out, if it is not the direct one."""

    async def start(self, directory: Path, environment: Mapping[str, str], *, address: str) -> Container:
        """
        Start a container whose files are in *directory* and which listens on *address*.

        Must run on the main thread: the kernel ends children when the *thread* that started them ends.

        Raises:
            ContainerStartError: it did not start; says why.

        """
        try:
            self.image.check()
            second_user = self.isolation.second_user(self.image, directory.parent)
            prepare(directory, agent_owns=second_user)
        except (ImageIncompleteError, OSError) as error:
            raise ContainerStartError(str(error)) from error
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **environment,
            **places(self.image, directory, namespaces=self.isolation.namespaces),
            "SANDBOXD_HOST": address,
            "SANDBOXD_PORT": str(PORT),
            # What listens on localhost in one of them is open to all: sandboxd must not count on a network of its own.
            "SANDBOXD_SHARED_NETWORK": "1",
            # A test's repository is served on this machine, where nobody has a certificate.
            "SANDBOXD_GIT_OVER_HTTP": "1",
            **self.mark,
        }
        if self.egress is not None:
            variables |= self.egress.environment(namespaces=self.isolation.namespaces)
        if second_user:
            variables |= {"SANDBOXD_AGENT_UID": str(AGENT), "SANDBOXD_AGENT_GID": str(AGENT)}
            if self.isolation.namespaces:
                variables |= {"SANDBOXD_OWN_UID": str(image.SANDBOXD), "SANDBOXD_OWN_GID": str(image.SANDBOXD)}
        with (directory / "log").open("ab") as log:
            if self.isolation.namespaces:
                return await self._start_in_namespaces(directory, variables, log.fileno())
            return await self._start_plainly(directory, variables, log.fileno())

    async def _start_in_namespaces(self, directory: Path, variables: Mapping[str, str], log: int) -> Container:
        readable, writable = os.pipe()
        options = bubblewrap(self.image, directory, root=self.isolation.root, info_fd=writable)
        if self.egress is not None:
            options += self.egress.mounts()
        with tempfile.TemporaryFile() as file:
            # Not on the command line, which the sandbox could read: it names this machine's folders.
            file.write(b"".join(option.encode() + b"\0" for option in options))
            file.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    "bwrap", "--args", str(file.fileno()), "--", str(INSIDE_PYTHON), *SANDBOXD,
                    env=variables, cwd="/", stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                    pass_fds=[writable, file.fileno()],
                )  # fmt: skip
            except OSError as error:
                os.close(readable)
                raise ContainerStartError(str(error)) from error
            finally:
                os.close(writable)
        with os.fdopen(readable) as pipe:
            told = await asyncio.to_thread(pipe.read)
        if not told:
            code = await process.wait()
            raise ContainerStartError(f"bubblewrap ended with {code}: {_last_line(directory / 'log')}")
        try:
            return Container(process, namespace=os.pidfd_open(json.loads(told)["child-pid"]))
        except ProcessLookupError as error:
            await process.wait()
            raise ContainerStartError(_last_line(directory / "log")) from error

    async def _start_plainly(self, directory: Path, variables: Mapping[str, str], log: int) -> Container:
        init = Path(__file__).with_name("init.py")
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(init), str(os.getpid()), str(self.image.python), *SANDBOXD,
                env=variables, cwd=directory / "workspace", stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ContainerStartError(str(error)) from error
        return Container(process, namespace=None)


def _pid_of(pidfd: int) -> int:
    """The process a pidfd stands for; 0 when it is gone."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return max(int(line.split()[1]), 0)
    return 0


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"
