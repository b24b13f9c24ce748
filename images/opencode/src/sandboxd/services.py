"""What carries out the control plane's orders about files and commands, put together."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import httpx

from sandboxd.agent_home import AgentHome
from sandboxd.checkouts import Checkouts
from sandboxd.children import Children
from sandboxd.commands import Commands
from sandboxd.files import Files
from sandboxd.settings import Settings
from sandboxd.tasks import Tasks
from sandboxd.transfers import Transfers


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """They, and what they share."""

    children: Children
    commands: Commands
    files: Files
    transfers: Transfers
    checkouts: Checkouts
    client: httpx.AsyncClient

    async def close(self) -> None:
        """End all commands; nothing is carried out any more."""
        await self.commands.close()
        await self.client.aclose()


def compose_services(
    settings: Settings, *, home: AgentHome, tasks: Tasks, busy: Callable[[str], AbstractContextManager[None]]
) -> Services:
    """Put them together. *busy* is entered, with what it is for, while one of them works for somebody."""
    children = Children(home)
    commands = Commands(home=home, children=children, tasks=tasks, parallel=settings.parallel_execs, busy=busy)
    files = Files(
        home=home, children=children, parallel=settings.parallel_files, seconds=settings.file_seconds, busy=busy
    )
    client = httpx.AsyncClient(trust_env=False)
    return Services(
        children=children,
        commands=commands,
        files=files,
        transfers=Transfers(files, client),
        checkouts=Checkouts(files=files, commands=commands, http=settings.git_over_http),
        client=client,
    )
