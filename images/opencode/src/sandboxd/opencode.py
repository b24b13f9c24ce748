"""The OpenCode server: a child process of its own user, environment and session, that answers on loopback only."""

import asyncio
import base64
import json
import logging
import os
import secrets
import signal
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from sandboxd.agent_home import AgentHome
from sandboxd.binary import find_binary
from sandboxd.errors import OpenCodeError
from sandboxd.kernel import end_first_without_memory
from sandboxd.permissions import PERMISSIONS, ToolPolicy
from sandboxd.privileges import as_agent

logger = logging.getLogger(__name__)

LISTENING = b"opencode server listening on "
# OpenCode's port accepts before anyone answers on it, and what is asked in between is never answered.
PROBE_SECONDS = 0.15
LINE_BYTES = 1024 * 1024
# The one that OpenCode takes where nobody says another.
AGENT = "build"


@dataclass(frozen=True, slots=True)
class Launch:
    """What OpenCode is started with: its configuration, and what of other configurations it is not to read."""

    config: Mapping[str, object]
    environment: Mapping[str, str] = field(default_factory=dict)


# The workspace has configurations of its own, whoever wrote them: agents with other permissions, tools and plugins,
# servers that are started as soon as OpenCode is.
ALONE = {"OPENCODE_DISABLE_PROJECT_CONFIG": "1", "OPENCODE_PURE": "1"}


def compose_launch(models: Mapping[str, object], policy: ToolPolicy) -> Launch:
    """What OpenCode is started with under *policy*, with the part of its configuration that is about *models*."""
    permission = PERMISSIONS[policy]
    config = {"autoupdate": False, "share": "disabled", "permission": permission, **models}
    if policy is ToolPolicy.READ_WRITE:
        return Launch(config)
    # An agent's own permissions count more than those of all agents.
    return Launch({**config, "default_agent": AGENT, "agent": {AGENT: {"permission": permission}}}, ALONE)


class OpenCode:
    """
    One run of the server. ``start`` once, ``stop`` always; ``exited`` tells when it ended, planned or not.

    *path* is its binary, or a node_modules directory that holds it.
    """

    def __init__(self, path: Path, home: AgentHome) -> None:
        self._path = path
        self._home = home
        self._password = secrets.token_urlsafe(32)
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._last_lines: deque[str] = deque(maxlen=20)
        self.port = _free_port()
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"authorization": self.authorization, "accept-encoding": "identity"},
            timeout=httpx.Timeout(10, connect=2, read=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            trust_env=False,
        )

    @property
    def authorization(self) -> str:
        """The header that opens OpenCode's API."""
        return "Basic " + base64.b64encode(f"opencode:{self._password}".encode()).decode()

    @property
    def pid(self) -> int | None:
        """The process id, None before the start."""
        return self._process.pid if self._process else None

    async def start(self, launch: Launch) -> str:
        """
        Start the server and return its version once it answers.

        Takes as long as OpenCode takes; the caller bounds it.

        Raises:
            OpenCodeError: it could not be started, or ended before it answered.
        """
        try:
            binary = find_binary(self._path)
            self._process = await asyncio.create_subprocess_exec(
                binary,
                *("serve", "--hostname", "127.0.0.1", "--port", str(self.port)),
                cwd=self._home.workspace,
                env=self._environment(launch),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=LINE_BYTES,
                **as_agent(self._home),
            )
        except OSError as exc:
            raise OpenCodeError(f"OpenCode cannot be started: {exc}") from exc
        end_first_without_memory(self._process.pid)
        self._output = asyncio.create_task(self._read_output(self._process))
        await self._until_listening(self._process)
        return await self._probe()

    async def exited(self) -> int:
        """Wait for the end of the process and return its status (negative: the signal that ended it)."""
        if self._process is None:
            raise RuntimeError("not started")
        return await self._process.wait()

    async def stop(self, grace: float) -> None:
        """End the process: SIGTERM, after *grace* seconds SIGKILL for its whole process group."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(grace):
                    await self._process.wait()
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()
        if self._output is not None:
            self._output.cancel()
        await self.client.aclose()

    def last_output(self) -> str:
        """The last lines it printed: the reason, when a start fails."""
        return " | ".join(self._last_lines)

    def _environment(self, launch: Launch) -> dict[str, str]:
        # Nothing is said of the heap's size: held to 512 MB it collects garbage without end, a tenth to a third of a
        # core while nobody asks anything, to save 100 MB of 620 (measured, opencode 1.18.33).
        return {
            **self._home.environment(dict(os.environ)),
            **launch.environment,
            "OPENCODE_CONFIG_CONTENT": json.dumps(launch.config),
            "OPENCODE_SERVER_PASSWORD": self._password,
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
        }

    async def _read_output(self, process: asyncio.subprocess.Process) -> None:
        """Read to the end, always: a full pipe would stop OpenCode."""
        assert process.stdout is not None  # noqa: S101 - stdout is a pipe, by construction
        while line := await process.stdout.readline():
            if LISTENING in line:
                self._listening.set()
            self._last_lines.append(line.decode(errors="replace").rstrip())

    async def _until_listening(self, process: asyncio.subprocess.Process) -> None:
        waits = [asyncio.create_task(self._listening.wait()), asyncio.create_task(process.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._listening.is_set():
            raise OpenCodeError("OpenCode ended before it listened")

    async def _probe(self) -> str:
        """Ask for its health on new connections until one answers, and return the version it names."""
        while True:
            async with httpx.AsyncClient(base_url=self.client.base_url, trust_env=False) as probe:
                try:
                    answer = await probe.get(
                        "/global/health", timeout=PROBE_SECONDS, headers={"authorization": self.authorization}
                    )
                    return str(answer.raise_for_status().json()["version"])
                except httpx.TimeoutException:
                    continue
                except (httpx.HTTPError, KeyError, ValueError) as exc:
                    raise OpenCodeError("OpenCode listens, but is not healthy") from exc


def _free_port() -> int:
    """
    A port nobody uses now.

    OpenCode reads port 0 as its default, 4096, which all sandboxes of a laptop would want.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
