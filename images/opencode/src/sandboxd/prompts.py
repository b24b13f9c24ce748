"""
Prompts: passed on when OpenCode may be given one, and watched until it works on them.

OpenCode takes a prompt (204) well before it is busy with it, up to seconds when it is cold. In between nothing but its
events tells: first the prompt's part, then the session's status.
"""

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sandboxd.credentials import Credentials
from sandboxd.errors import InvalidRequestError, OpenCodeError, SandboxdError
from sandboxd.events import RESYNC
from sandboxd.maintenance import Maintenance
from sandboxd.supervisor import Supervisor

TAKEN_SECONDS = 60
"""A prompt of which nothing is heard for so long is given up as lost."""
CALL_SECONDS = 9
TYPE_BYTES = 80


class Prompt(BaseModel):
    """The body of OpenCode's ``prompt_async``, as far as sandboxd minds it; the rest is passed on as it is."""

    model_config = ConfigDict(extra="allow")

    model: dict[str, str] | None = Field(default=None, description="`providerID` and `modelID`; omitted: the default")
    parts: list[dict[str, JsonValue]] = Field(min_length=1)

    def part_id(self) -> str:
        """The id of a part of it, by which it is known among the events. Parts without any get ids, in order."""
        if not any("id" in part for part in self.parts):
            prefix = f"prt_{secrets.token_hex(8)}"
            for number, part in enumerate(self.parts):
                part["id"] = f"{prefix}{number:06d}"
        return next(str(part["id"]) for part in self.parts if "id" in part)


@dataclass(slots=True)
class _Taken:
    session: bytes
    until: float
    stored: bool = False


class PromptsUnderWay:
    """The prompts OpenCode took and is not busy with yet."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._taken: dict[str, _Taken] = {}

    def any(self) -> bool:
        """Whether there are any."""
        now = self._now()
        self._taken = {part: taken for part, taken in self._taken.items() if taken.until > now}
        return bool(self._taken)

    def add(self, session_id: str, part_id: str) -> None:
        """One is about to be handed over."""
        self._taken[part_id] = _Taken(session_id.encode(), self._now() + TAKEN_SECONDS)

    def discard(self, part_id: str) -> None:
        """It was not taken."""
        self._taken.pop(part_id, None)

    def see(self, event: bytes) -> None:
        """Note what an event of OpenCode's says of them."""
        if not self._taken:
            return
        if event == RESYNC:
            self._taken.clear()
            return
        for part_id, taken in list(self._taken.items()):
            if not taken.stored:
                taken.stored = part_id.encode() in event
            elif b'"type":"session.status"' in event[:TYPE_BYTES] and taken.session in event:
                self.discard(part_id)
            if b'"type":"session.error"' in event[:TYPE_BYTES] and taken.session in event:
                self.discard(part_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The way of prompts to OpenCode."""

    supervisor: Supervisor
    maintenance: Maintenance
    credentials: Credentials
    under_way: PromptsUnderWay
    default_model: Callable[[], str | None]
    """
    The model, ``provider/id``, for prompts that name none. OpenCode itself would take the session's last one, which may
    be a provider's that is not connected any more.
    """
    wait_seconds: float

    async def pass_on(self, session_id: str, prompt: Prompt, *, query: bytes) -> httpx.Response:
        """
        Hand the prompt over as soon as OpenCode may be given one, and return its answer.

        Raises:
            NotReadyError: that took too long.
            InvalidRequestError: it is not JSON.
            OpenCodeError: OpenCode did not answer, or would answer with credentials that are not those in use.
        """
        part_id = prompt.part_id()
        await self.maintenance.admit(lambda: self.under_way.add(session_id, part_id))
        try:
            answer = await self._hand_over(session_id, prompt, query)
        except httpx.HTTPError as exc:
            # Whether it was taken cannot be known: it stays under way until it is heard of, or given up.
            raise OpenCodeError from exc
        except SandboxdError:
            self.under_way.discard(part_id)
            raise
        if answer.status_code != HTTPStatus.NO_CONTENT:
            self.under_way.discard(part_id)
        return answer

    async def _hand_over(self, session_id: str, prompt: Prompt, query: bytes) -> httpx.Response:
        client = (await self.supervisor.opencode(self.wait_seconds)).client
        if not self.credentials.restore():
            raise OpenCodeError("auth.json cannot be put back")
        body = prompt.model_dump(exclude_unset=True)
        if prompt.model is None:
            body.pop("model", None)
            if (default := self.default_model()) is not None:
                provider, _, name = default.partition("/")
                body["model"] = {"providerID": provider, "modelID": name}
        try:
            content = json.dumps(body, allow_nan=False)
        except ValueError as exc:
            raise InvalidRequestError from exc
        url = client.base_url.copy_with(path=f"/session/{session_id}/prompt_async", query=query or None)
        headers = {"content-type": "application/json"}
        return await client.post(url, content=content, headers=headers, timeout=CALL_SECONDS)
