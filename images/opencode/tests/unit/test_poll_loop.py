"""What auth.json holds while OpenCode waits for an approval, and after it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from sandboxd.agent_home import AgentHome
from sandboxd.auth_file import AuthFile
from sandboxd.codex import CallbackEnd, Entry, Method
from sandboxd.poll_loop import PollLoop

pytestmark = pytest.mark.anyio


def entry(name: str) -> Entry:
    return {"type": "oauth", "access": f"access-{name}", "refresh": f"refresh-{name}", "expires": 1}


@dataclass
class Provider:
    """OpenCode's callback, which answers when it is told to, and the file it writes in place."""

    path: Path
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Future[httpx.Response] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def handle(self, _: httpx.Request) -> httpx.Response:
        self.asked.set()
        return await self.answer

    def write(self, name: str) -> None:
        self.path.write_text(json.dumps({"openai": entry(name)}))

    def approve(self, name: str) -> None:
        self.write(name)
        self.answer.set_result(httpx.Response(200, json=True))


@asynccontextmanager
async def waiting(
    tmp_path: Path,
) -> AsyncIterator[tuple[Provider, PollLoop, asyncio.Task[tuple[CallbackEnd, Entry | None]], AuthFile]]:
    """A loop that waits, while the tokens *first* are in use."""
    home = AgentHome(workspace=tmp_path, home=tmp_path, uid=0, gid=0)
    path = home.data / "opencode" / "auth.json"
    path.parent.mkdir(parents=True)
    provider = Provider(path)
    provider.write("first")
    file = AuthFile(home)
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider.handle), base_url="http://opencode") as client:
        loop = PollLoop(client, file, Method.DEVICE_CODE)
        task = asyncio.create_task(loop.run())
        await provider.asked.wait()
        yield provider, loop, task, file
        task.cancel()
        await asyncio.wait((task,))


async def test_what_is_approved_is_taken_out_of_the_file(tmp_path: Path) -> None:
    """It is handed to the caller; what was in use stays in use."""
    async with waiting(tmp_path) as (provider, loop, task, file):
        provider.approve("new")

        assert await task == (CallbackEnd.APPROVED, entry("new"))
        assert (file.read(), loop.ended) == (entry("first"), True)


async def test_refreshed_tokens_are_what_is_put_back(tmp_path: Path) -> None:
    """A refresh just before OpenCode is ended is waited for, and the one after it as well."""
    async with waiting(tmp_path) as (provider, loop, _, file):
        provider.write("refreshed")
        await loop.settle()
        kept = loop.kept
        provider.write("refreshed again")
        await loop.settle()
        provider.write("approved while OpenCode was ended")
        loop.put_back()

        assert kept == entry("refreshed")
        assert file.read() == entry("refreshed again")


async def test_approval_right_after_a_refresh(tmp_path: Path) -> None:
    """Each is taken for what it is."""
    async with waiting(tmp_path) as (provider, loop, task, file):
        provider.write("refreshed")
        await loop.settle()
        provider.approve("new")

        assert await task == (CallbackEnd.APPROVED, entry("new"))
        assert file.read() == entry("refreshed")


async def test_nothing_is_put_back_once_it_is_forgotten(tmp_path: Path) -> None:
    """A user who disconnects while an attempt waits stays disconnected, even if a refresh was under way."""
    async with waiting(tmp_path) as (provider, loop, task, file):
        provider.write("refreshed")
        loop.forget()
        file.put(None)
        provider.write("written by a refresh that was under way")
        await loop.settle()
        provider.approve("new")

        assert await task == (CallbackEnd.APPROVED, entry("new"))
        assert file.read() is None


async def test_half_written_file_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """OpenCode writes in place: what is there for a moment is nothing to go by."""
    async with waiting(tmp_path) as (provider, _, task, file):
        provider.path.write_text('{"openai":{"ty')
        provider.answer.set_result(httpx.Response(200, json=True))
        await asyncio.wait((task,), timeout=0.05)
        provider.write("new")

        assert await task == (CallbackEnd.APPROVED, entry("new"))
        assert file.read() == entry("first")


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (httpx.Response(400, json={"name": "ProviderAuthOauthCallbackFailed", "data": {}}), CallbackEnd.DENIED),
        (httpx.Response(400, json={"name": "ProviderAuthOauthMissing", "data": {}}), CallbackEnd.FAILED),
        (httpx.Response(500, json={"name": "UnknownError"}), CallbackEnd.FAILED),
        (httpx.Response(200, json=None), CallbackEnd.FAILED),
        (httpx.Response(200, text="<!doctype html>"), CallbackEnd.FAILED),
    ],
)
async def test_other_ends(tmp_path: Path, answer: httpx.Response, end: CallbackEnd) -> None:
    """As OpenCode tells them; the file is left alone."""
    async with waiting(tmp_path) as (provider, _, task, file):
        provider.answer.set_result(answer)

        assert await task == (end, None)
        assert file.read() == entry("first")
