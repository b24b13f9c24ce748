"""The access token of a thread's Codex connection while a turn runs: whether it serves, and the next one's lending."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from threadbox.clock import unix_time
from threadbox.control import Access, Codex, Starting
from threadbox.errors import AppError, ProviderUnreachableError, ReconnectRequiredError
from threadbox.grants import CODEX
from threadbox.telemetry import logger

SHORTEST_WAIT = 1.0
AFTER_FAILURE = 5

ENDED = "The ChatGPT connection of this thread has ended. Connect again to go on, or choose another model."
RENEWED = "ChatGPT no longer took this thread's connection, which has been renewed. Please send your message again."
UNREACHABLE = "ChatGPT's sign-in service cannot be reached just now. Please try again later, or choose another model."


def is_codex(codex: Codex | None, model: str) -> bool:
    """Whether *model* (``provider/id``, "" for the default) is Codex's: the default is, where there is a grant."""
    return codex is not None and (model == "" or model.startswith(f"{CODEX}/"))


def see_to(codex: Codex | None, *, model: str) -> None:
    """
    See that *model* can be asked.

    Raises:
        ReconnectRequiredError: it is Codex's, and the user has to sign in again.
        ProviderUnreachableError: it is Codex's, and there is no access token just now.
    """
    if codex is None or codex.state == "connected" or not is_codex(codex, model):
        return
    if codex.state == "reconnect_required":
        raise ReconnectRequiredError(ENDED)
    raise ProviderUnreachableError(UNREACHABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """Calls *ensure* whenever another access token is due; OpenCode takes it with its next request to the model."""

    ensure: Callable[[], Awaitable[Access | Starting]]
    now: Callable[[], float] = unix_time

    async def run(self, codex: Codex | None) -> None:
        """Go on for as long as there is something to renew."""
        while codex is not None and codex.renew_at is not None:
            await asyncio.sleep(max(SHORTEST_WAIT, codex.renew_at - self.now()))
            try:
                answer = await self.ensure()
            except AppError as error:
                logger.warning("access token not renewed", code=error.code)
                codex = Codex(state=codex.state, renew_at=int(self.now()) + AFTER_FAILURE)
                continue
            codex = answer.codex if isinstance(answer, Access) else None
