"""
Prompts: passed on when OpenCode may be given one, and watched until it works on them.

OpenCode takes a prompt (204) well before it is busy with it, up to seconds when it is cold. In between nothing but its
events tells: first the prompt's part, then the session's status.

A prompt whose part has an id of the caller's is handed over once, however often it comes: whoever took over from a
caller that died cannot know whether it has asked already, and need not.

To OpenCode an abort is the session's: one that comes before OpenCode is at work on its prompt is lost on it, or ends
it without a word, and one that comes late ends the next. Here it can name its prompt.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sandboxd.credentials import Credentials
from sandboxd.errors import InvalidRequestError, NotReadyError, OpenCodeError, SandboxdError, UnknownOutcomeError
from sandboxd.events import RESYNC
from sandboxd.maintenance import Maintenance
from sandboxd.patience import in_time
from sandboxd.supervisor import Supervisor
from sandboxd.tasks import Tasks

logger = logging.getLogger(__name__)

TAKEN_SECONDS = 60
"""A prompt of which nothing is heard for so long is given up as lost."""
CALL_SECONDS = 9
BUSY_SECONDS = 5
"""So long whoever calls a prompt off waits for OpenCode to be at work on it; the abort itself waits on."""
TYPE_BYTES = 80
CURSOR = "Event-Cursor"
"""The header that says behind which number of the event log a prompt's own events lie."""
KNOWN_PROMPTS = 1000


class Prompt(BaseModel):
    """The body of OpenCode's ``prompt_async``, as far as sandboxd minds it; the rest is passed on as it is."""

    model_config = ConfigDict(extra="allow")

    model: dict[str, str] | None = Field(default=None, description="`providerID` and `modelID`; omitted: the default")
    parts: list[dict[str, JsonValue]] = Field(min_length=1)

    @property
    def named(self) -> bool:
        """Whether the caller gave a part an id."""
        return any("id" in part for part in self.parts)

    def part_id(self) -> str:
        """The id of a part of it, by which it is known among the events. Parts without any get ids, in order."""
        if not self.named:
            prefix = f"prt_{secrets.token_hex(8)}"
            for number, part in enumerate(self.parts):
                part["id"] = f"{prefix}{number:06d}"
        return next(str(part["id"]) for part in self.parts if "id" in part)


@dataclass(slots=True)
class _Taken:
    session: bytes
    until: float
    stored: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


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
        """It was not taken, or is under way no longer."""
        taken = self._taken.pop(part_id, None)
        if taken is not None:
            taken.over.set()

    async def wait_over(self, part_id: str, seconds: float) -> bool:
        """Wait until OpenCode is busy with that prompt, or it was not taken; False after *seconds*."""
        taken = self._taken.get(part_id)
        return taken is None or await in_time(taken.over.wait(), seconds)

    def see(self, event: bytes) -> None:
        """Note what an event of OpenCode's says of them."""
        if not self._taken:
            return
        if event == RESYNC:
            for part_id in list(self._taken):
                self.discard(part_id)
            return
        for part_id, taken in list(self._taken.items()):
            if not taken.stored:
                taken.stored = part_id.encode() in event
            elif b'"type":"session.status"' in event[:TYPE_BYTES] and taken.session in event:
                self.discard(part_id)
            if b'"type":"session.error"' in event[:TYPE_BYTES] and taken.session in event:
                self.discard(part_id)


class KnownPrompts:
    """What became of the last prompts whose callers named them, or will become of them."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Task[httpx.Response]] = {}

    async def once(
        self, part_id: str, hand_over: Callable[[], Coroutine[None, None, httpx.Response]]
    ) -> httpx.Response:
        """
        Return the answer to the prompt, which is handed over if it never was, or was certainly not taken.

        Raises:
            As *hand_over* did.
        """
        answer = self._answers.get(part_id)
        if answer is None:
            answer = self._answers[part_id] = asyncio.create_task(self._settle(part_id, hand_over))
            if len(self._answers) > KNOWN_PROMPTS:
                del self._answers[next(iter(self._answers))]
        # Whoever asks may go away: the prompt is on its way all the same, and others may ask for its answer.
        return await asyncio.shield(answer)

    async def _settle(
        self, part_id: str, hand_over: Callable[[], Coroutine[None, None, httpx.Response]]
    ) -> httpx.Response:
        try:
            answer = await hand_over()
        except UnknownOutcomeError:
            raise
        except BaseException:
            self._answers.pop(part_id, None)
            raise
        if answer.status_code != HTTPStatus.NO_CONTENT:
            self._answers.pop(part_id, None)
        return answer


@dataclass(slots=True, kw_only=True)
class Prompts:
    """The way of prompts, and of what calls them off, to OpenCode."""

    supervisor: Supervisor
    maintenance: Maintenance
    credentials: Credentials
    under_way: PromptsUnderWay
    last_event: Callable[[], int]
    """The number of the newest event in the log."""
    default_model: Callable[[], str | None]
    """
    The model, ``provider/id``, for prompts that name none. OpenCode itself would take the session's last one, which may
    be a provider's that is not connected any more.
    """
    wait_seconds: float
    tasks: Tasks
    busy_seconds: float = BUSY_SECONDS
    known: KnownPrompts = field(default_factory=KnownPrompts)
    _last: str | None = None
    _calling_off: asyncio.Task[None] | None = None
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def pass_on(self, session_id: str, prompt: Prompt, *, query: bytes) -> httpx.Response:
        """
        Hand the prompt over as soon as OpenCode may be given one, and return its answer, with a cursor.

        Raises:
            NotReadyError: that took too long.
            InvalidRequestError: it is not JSON.
            OpenCodeError: OpenCode did not answer, or would answer with credentials that are not those in use.
        """
        if not prompt.named:
            return await self._pass_on(session_id, prompt, query)
        return await self.known.once(prompt.part_id(), lambda: self._pass_on(session_id, prompt, query))

    async def _pass_on(self, session_id: str, prompt: Prompt, query: bytes) -> httpx.Response:
        part_id = prompt.part_id()
        await self._wait_called_off()
        await self.maintenance.admit(lambda: self.under_way.add(session_id, part_id))
        behind = self.last_event()
        try:
            async with self._one_at_a_time:
                self._last = part_id
                answer = await self._hand_over(session_id, prompt, query)
        except httpx.HTTPError as exc:
            # Whether it was taken cannot be known: it stays under way until it is heard of, or given up.
            raise UnknownOutcomeError from exc
        except SandboxdError:
            self.under_way.discard(part_id)
            raise
        if answer.status_code != HTTPStatus.NO_CONTENT:
            self.under_way.discard(part_id)
        answer.headers[CURSOR] = str(behind)
        return answer

    async def abort(self, session_id: str, part_id: str) -> bool:
        """
        Stop OpenCode's work on that prompt; False when it was given another one since, or never that one.

        One that OpenCode is not at work on yet is stopped once it is; until then it is given no other.

        Raises:
            NotReadyError: OpenCode is not ready in time.
            OpenCodeError: OpenCode did not answer, or refused.
        """
        if self._last == part_id and not await self.under_way.wait_over(part_id, self.busy_seconds):
            if self._calling_off is None or self._calling_off.done():
                self._calling_off = self.tasks.spawn(self._call_off(session_id, part_id))
            return True
        return await self._abort(session_id, part_id)

    async def _call_off(self, session_id: str, part_id: str) -> None:
        """Stop the prompt when OpenCode is at work on it, or when nothing was heard of it for as long as may be."""
        await self.under_way.wait_over(part_id, TAKEN_SECONDS)
        try:
            await self._abort(session_id, part_id)
        except SandboxdError as error:
            logger.warning("a prompt was not called off: %s", error.code)

    async def _wait_called_off(self) -> None:
        if self._calling_off is not None:
            _, left = await asyncio.wait([self._calling_off], timeout=self.wait_seconds)
            if left:
                raise NotReadyError

    async def _abort(self, session_id: str, part_id: str) -> bool:
        async with self._one_at_a_time:
            if self._last != part_id:
                return False
            client = (await self.supervisor.opencode(self.wait_seconds)).client
            try:
                answer = await client.post(f"/session/{session_id}/abort", timeout=CALL_SECONDS)
            except httpx.HTTPError as exc:
                raise OpenCodeError from exc
        if answer.is_error:
            raise OpenCodeError
        return True

    async def _hand_over(self, session_id: str, prompt: Prompt, query: bytes) -> httpx.Response:
        client = (await self.supervisor.opencode(self.wait_seconds)).client
        self.supervisor.prompted()
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
