"""The way of a turn to its sandbox: asking for it, waiting for it, and telling the user how far it is."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic

from chat.renewal import RENEWED, UNREACHABLE, is_codex, see_to
from threadbox.control import Access, SandboxControlClient, Starting
from threadbox.errors import AppError, ModelUnauthorizedError, ProviderUnreachableError, SandboxUnavailableError

START_POLL = (0.1, 0.1, 0.2, 0.2, 0.3)
SAY_AGAIN = 10


@dataclass(slots=True, kw_only=True)
class SandboxAccess:
    """
    Asks sandbox_ctl for the thread's sandbox; ``say`` tells state, detail and more to the user.

    ``waited``: its start had to be waited for.
    """

    control: SandboxControlClient
    thread_id: str
    cancelled: asyncio.Event
    say: Callable[..., None]
    waited: bool = False

    async def ensure(
        self, *, waiting_for: int | None = None, suspect: int | None = None, refused: int | None = None
    ) -> Access | Starting:
        """Return access to the sandbox, or how far its start is (see :meth:`SandboxControlClient.ensure`)."""
        ensure = partial(self.control.ensure, self.thread_id, scope="turn")
        return await asyncio.to_thread(ensure, waiting_for=waiting_for, suspect=suspect, refused=refused)

    async def wait(self, sandbox: Access | Starting, until: float) -> Access | None:
        """
        Return access to the sandbox once it runs; None when the turn is called off.

        Raises:
            SandboxUnavailableError: it cannot be started, or not in time.
        """
        told: Starting | None = None
        told_at, polls = 0.0, 0
        while isinstance(sandbox, Starting):
            self.waited = True
            if self.cancelled.is_set():
                return None
            if monotonic() > until:
                raise SandboxUnavailableError("The sandbox did not start in time. Please try again.")
            if sandbox != told or monotonic() - told_at > SAY_AGAIN:
                told, told_at = sandbox, monotonic()
                self.say(sandbox.state, sandbox.detail, **_phases(sandbox))
            await self.pause(START_POLL[min(polls, len(START_POLL) - 1)])
            polls += 1
            sandbox = await self.ensure(waiting_for=sandbox.generation)
        if told is not None:
            self.say("running", "ready", **_phases(sandbox))
        return sandbox

    async def again(self, suspect: int) -> Access | Starting:
        """Return another access, a moment later, when the sandbox of generation *suspect* does not answer."""
        await self.pause(START_POLL[-1])
        return await self.ensure(suspect=suspect)

    async def refused(self, access: Access, model: str, error: ModelUnauthorizedError) -> AppError:
        """Return what to say to a model's refusal; when it is Codex's, after another access token was asked for."""
        if access.codex is None or not is_codex(access.codex, model):
            return error
        try:
            answer = await self.ensure(refused=access.codex.version)
            codex = answer.codex if isinstance(answer, Access) else None
            see_to(codex, model=model)
        except AppError as told:
            return told
        if codex is not None and codex.version == access.codex.version:
            return ProviderUnreachableError(UNREACHABLE)
        return ModelUnauthorizedError(RENEWED)

    async def pause(self, seconds: float) -> None:
        """Wait, but not for longer than until the turn is called off."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.cancelled.wait(), seconds)


def _phases(sandbox: Access | Starting) -> dict[str, dict[str, int]]:
    return {"phases": sandbox.phases} if sandbox.phases else {}
