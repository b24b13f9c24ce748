"""
Making the agent forget what was cut from the history (decision 10).

OpenCode's session is brought to hold no more than what is left: the messages from the first one on that was cut are
deleted from it, the newest first; where nothing is left, a new session takes its place. The workspace stays as it is.
"""

import asyncio
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from chat.messages import MessageStore
from chat.opencode import OpenCodeClient
from chat.turn import Turn, part_id
from threadbox.control import Access
from threadbox.errors import OpenCodeError

BUSY_ATTEMPTS = 20
BUSY_PAUSE = 0.25
# The ids that questions get here; those that OpenCode makes for its own parts look different.
QUESTION = re.compile(r"prt_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Context:
    """The session, and whether it lacks what the history still holds."""

    session_id: str
    lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """What is to be done before the first prompt after a cut. Done twice it changes nothing."""

    client: OpenCodeClient
    messages: MessageStore

    async def forget(self, turn: Turn, access: Access) -> Context:
        """
        Bring the session to what is left of the history before the turn's question.

        Raises:
            SilentError: the sandbox was not reached.
            OpenCodeError: OpenCode refuses.
        """
        asked, answered = await asyncio.to_thread(self._left, turn)
        stored = await self._stored(access) if asked else None
        if stored is None:
            return Context(await self.client.begin_anew(access), lost=bool(answered))
        questions = [_question(message) for message in stored]
        kept = {part_id(request_id) for request_id in asked}
        cut = next(
            (place for place, part in enumerate(questions) if part is not None and part not in kept), len(stored)
        )
        for message in reversed(stored[cut:]):
            await self._delete(access, str(message["info"]["id"]))
        known = {part for part in questions if part is not None}
        return Context(access.session_id, lost=not {part_id(request_id) for request_id in answered} <= known)

    def _left(self, turn: Turn) -> tuple[set[str], set[str]]:
        """Return the requests before the turn's whose message is left, and those of them that were answered."""
        asked: dict[int, str] = {}
        answered: set[str] = set()
        for stored in self.messages.oldest_first(turn.thread_id):
            if stored.number >= turn.seq:
                break
            if stored.request_id:
                asked[stored.number] = stored.request_id
            elif stored.number - 1 in asked:
                answered.add(asked[stored.number - 1])
        return set(asked.values()), answered

    async def _stored(self, access: Access) -> list[dict[str, Any]] | None:
        """Return the session's messages, or None when there is no such session any more."""
        try:
            return await self.client.messages(access)
        except OpenCodeError as error:
            if error.details.get("status") == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def _delete(self, access: Access, message_id: str) -> None:
        for attempt in range(BUSY_ATTEMPTS):
            try:
                await self.client.delete_message(access, message_id)
            except OpenCodeError as error:
                if error.details.get("status") != HTTPStatus.CONFLICT or attempt == BUSY_ATTEMPTS - 1:
                    raise
                # The answer before this one was called off, and its end is a moment away.
                await self.client.abort(access)
                await asyncio.sleep(BUSY_PAUSE)
            else:
                return


def _question(message: dict[str, Any]) -> str | None:
    """Return the id of the part by which a message is known as a question that was asked here."""
    ids = [str(part.get("id", "")) for part in message["parts"]]
    return next((each for each in ids if QUESTION.fullmatch(each)), None)
