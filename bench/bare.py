"""
The bare ``opencode serve``, as a sandbox runs it but with nothing in front.

Its command line, configuration, environment and the beginning of its home are read off the OpenCode of a running
sandbox, so that the two sides cannot drift apart; it has directories, a port and a password of its own, and asks the
model directly.
"""

import asyncio
import contextlib
import json
import secrets
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.answers import Answer, NoAnswerError
from bench.model import ROOT, ended_in_the_end, free_port
from bench.processes import command

PACKAGES = ROOT / "images" / "opencode" / "node_modules"
LISTENING = b"opencode server listening on "
BOOT_SECONDS = 60
ANSWER_SECONDS = 120
CONFIG = "OPENCODE_CONFIG_CONTENT"
PASSWORD = "OPENCODE_SERVER_PASSWORD"  # noqa: S105 - the variable's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """How a sandbox runs OpenCode."""

    binary: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    home: str
    """As that OpenCode sees it."""
    settled: Path
    """Its configuration directory, as this process sees it."""

    @classmethod
    def of(cls, pid: int) -> "Blueprint":
        """Read it off a running process."""
        running = Path(f"/proc/{pid}/exe")
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")[:-1]
        environment = dict(variable.split("=", 1) for variable in variables)
        home = environment["HOME"]
        return cls(
            # The path that it was started by is one of its own file system.
            binary=next(path for path in PACKAGES.glob("*/bin/opencode") if path.samefile(running)),
            arguments=tuple(command(pid)[1:]),
            environment=environment,
            home=home,
            settled=Path(f"/proc/{pid}/root{home}/.config"),
        )


@dataclass(slots=True, kw_only=True)
class BareServer:
    """A running server."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    model: str

    @classmethod
    @contextlib.asynccontextmanager
    async def run(cls, blueprint: Blueprint, directory: Path, *, model_url: str) -> "AsyncIterator[BareServer]":
        """Run a server whose directories are new, below *directory*, from its start on; ends it."""
        home, workspace = directory / "home", directory / "workspace"
        workspace.mkdir(parents=True)
        await asyncio.to_thread(shutil.copytree, blueprint.settled, home / ".config", symlinks=True)
        port, password = free_port(), secrets.token_urlsafe(16)
        config = json.loads(blueprint.environment[CONFIG])
        for provider in config["provider"].values():
            provider["options"]["baseURL"] = model_url
        environment = {name: value.replace(blueprint.home, str(home)) for name, value in blueprint.environment.items()}
        environment |= {CONFIG: json.dumps(config), PASSWORD: password, "TMPDIR": str(directory)}
        arguments = list(blueprint.arguments)
        arguments[arguments.index("--port") + 1] = str(port)
        process = await asyncio.create_subprocess_exec(
            blueprint.binary, *arguments,
            env=environment, cwd=workspace, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True,
        )  # fmt: skip
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            auth=("opencode", password),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=2),
            trust_env=False,
        )
        async with ended_in_the_end(process), client:
            reader = await _listening(process)
            try:
                yield cls(process=process, client=client, model=config["model"])
            finally:
                reader.cancel()

    async def warm_up(self) -> None:
        """Play one prompt to its end in a throwaway session, as sandboxd does."""
        session = await self._create()
        body = {"parts": [{"type": "text", "text": "warm up"}]}
        (await self.client.post(f"/session/{session}/message", json=body)).raise_for_status()
        (await self.client.delete(f"/session/{session}")).raise_for_status()

    @contextlib.asynccontextmanager
    async def session(self) -> "AsyncIterator[BareSession]":
        """Make a session and follow the server's events for it."""
        session = await self._create()
        async with self.client.stream("GET", "/event") as response:
            yield BareSession(self.client, session, _events(response.raise_for_status()))

    async def _create(self) -> str:
        answer = await self.client.post("/session", json={})
        identifier: str = answer.raise_for_status().json()["id"]
        return identifier


class BareSession:
    """A session of the bare server, with one stream of events that is read while a question is open."""

    def __init__(self, client: httpx.AsyncClient, session: str, events: AsyncGenerator[dict[str, Any]]) -> None:
        self._client = client
        self._session = session
        self._events = events

    async def ask(self, text: str) -> Answer:
        """
        Ask, and read until the session is idle.

        Raises:
            NoAnswerError: OpenCode told of an error, or of no text.
            TimeoutError: it took too long.

        """
        answer = Answer()
        body = {"parts": [{"type": "text", "text": text}]}
        asked = asyncio.create_task(self._client.post(f"/session/{self._session}/prompt_async", json=body))
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                await self._read(answer)
            finally:
                (await asked).raise_for_status()
        if not answer.pieces:
            raise NoAnswerError("the bare server said nothing")
        return answer

    async def ask_all(self, text: str) -> list[Answer]:
        """Ask; the one answer there is, as a thread with several tabs would have it."""
        return [await self.ask(text)]

    async def _read(self, answer: Answer) -> None:
        texts: set[str] = set()
        async for event in self._events:
            properties = event["properties"]
            if properties.get("sessionID") != self._session:
                continue
            match event["type"]:
                case "message.part.updated" if properties["part"]["type"] == "text":
                    texts.add(properties["part"]["id"])
                case "message.part.delta" if properties["partID"] in texts:
                    answer.take(properties["delta"])
                case "session.error":
                    raise NoAnswerError(json.dumps(properties.get("error")))
                # An idle of the turn before may come late.
                case "session.idle" if answer.pieces:
                    return


async def _events(response: httpx.Response) -> AsyncGenerator[dict[str, Any]]:
    rest = b""
    async for chunk in response.aiter_raw():
        *frames, rest = (rest + chunk).split(b"\n\n")
        for frame in frames:
            yield json.loads(frame.removeprefix(b"data: "))


async def _listening(process: asyncio.subprocess.Process) -> asyncio.Task[None]:
    """Wait until the server says that it listens; gives the task that goes on reading what it prints."""
    listening = asyncio.Event()

    async def read() -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe, by construction
        while line := await process.stdout.readline():
            if LISTENING in line:
                listening.set()

    reader = asyncio.create_task(read())
    async with asyncio.timeout(BOOT_SECONDS):
        await listening.wait()
    return reader
