"""Calling a turn's agent from outside the function that reads from it: to stop it, or to answer what it asks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from chat.opencode import OpenCodeClient
from chat.translation import Translation
from chat.turn import Ask, Turn
from threadbox.control import Access, SandboxControlClient
from threadbox.errors import AppError, SandboxUnavailableError
from threadbox.telemetry import logger


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """
    Calls a turn's sandbox, if it still has one.

    For a stop, a sandbox that cannot be reached is no error: then there is nothing to stop, and whoever runs the turn
    sees its cancel flag with the next renewal of its lease.
    """

    control: SandboxControlClient
    http: Callable[[], httpx.AsyncClient]

    def abort(self, turn: Turn) -> None:
        """Stop the agent."""
        asyncio.run(self._abort(turn))

    def partial(self, turn: Turn) -> list[dict[str, Any]]:
        """Stop the agent and return the parts of what it said, or none."""
        return asyncio.run(self._partial(turn))

    def answer(self, turn: Turn, ask: Ask, answer: bool | list[list[str]]) -> None:  # noqa: FBT001 - see OpenCodeClient
        """
        Answer what the agent waits for.

        Raises:
            AppError: the sandbox cannot be reached, or the agent waits no longer.
        """
        asyncio.run(self._answer(turn, ask, answer))

    async def _answer(self, turn: Turn, ask: Ask, answer: bool | list[list[str]]) -> None:  # noqa: FBT001 - as above
        async with self._opencode(turn) as (client, access):
            await client.reply(access, ask, answer)

    async def _abort(self, turn: Turn) -> None:
        try:
            async with self._opencode(turn) as (client, access):
                await client.abort(access, part_id=turn.part_id)
        except AppError as error:
            logger.info("nothing to abort", thread_id=turn.thread_id, code=error.code)

    async def _partial(self, turn: Turn) -> list[dict[str, Any]]:
        try:
            async with self._opencode(turn) as (client, access):
                await client.abort(access, part_id=turn.part_id)
                translation = Translation(session_id=access.session_id, part_id=turn.part_id)
                translation.resync(await client.messages(access))
        except AppError as error:
            logger.info("nothing to recover", thread_id=turn.thread_id, code=error.code)
            return []
        return translation.parts()

    @asynccontextmanager
    async def _opencode(self, turn: Turn) -> AsyncIterator[tuple[OpenCodeClient, Access]]:
        """
        Open the way to the OpenCode that answers the turn.

        Raises:
            AppError: the turn has no sandbox yet, or it cannot be reached.
        """
        if turn.generation is None:
            raise SandboxUnavailableError("The answer has no sandbox yet.")
        access = self.control.lend(turn.thread_id, scope="turn", generation=turn.generation)
        async with self.http() as http:
            yield OpenCodeClient(http=http), turn.reach(access)
