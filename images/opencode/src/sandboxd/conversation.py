"""The one session of a thread, and the prompt that makes OpenCode quick before the user's first."""

from http import HTTPStatus
from typing import TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sandboxd.errors import OpenCodeError
from sandboxd.providers import WARM_UP

T = TypeVar("T")

WARM_UP_TITLE = "sandboxd warm-up"
CALL_SECONDS = 10


class _Time(BaseModel):
    created: float


class _Session(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    title: str = ""
    parentID: str | None = None  # noqa: N815 - OpenCode's name
    time: _Time


_SESSIONS = TypeAdapter(list[_Session])


class Conversation:
    """The sessions of one OpenCode server, as far as sandboxd minds them."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def find_or_create(self, known: str | None = None) -> str:
        """
        Return the id of the thread's session: the *known* one if it is there, else the oldest root session there is.

        OpenCode lists those of the workspace's project, which is another one since the workspace is a repository; the
        one that is known by its id it has all the same.

        A new one gets no title: then OpenCode asks the model for one while it answers the first message.

        Raises:
            OpenCodeError: OpenCode failed.
        """
        if known is not None and await self._has(known):
            return known
        sessions = await self._call("GET", "/session", _SESSIONS)
        roots = [session for session in sessions if session.parentID is None and session.title != WARM_UP_TITLE]
        if roots:
            return min(roots, key=lambda session: session.time.created).id
        return await self._create({})

    async def begin_anew(self, session_id: str | None) -> str:
        """
        Delete the session, if it is still there, and return the id of a new one.

        What it is at is stopped first: what it would still write then has no place any more.

        Raises:
            OpenCodeError: OpenCode failed.
        """
        if session_id is not None:
            for method, path in (("POST", f"/session/{session_id}/abort"), ("DELETE", f"/session/{session_id}")):
                try:
                    answer = await self._client.request(method, path, timeout=CALL_SECONDS)
                except httpx.HTTPError as exc:
                    raise OpenCodeError(f"OpenCode failed at {method} {path}") from exc
                if answer.is_error and answer.status_code != HTTPStatus.NOT_FOUND:
                    raise OpenCodeError(f"OpenCode failed at {method} {path}")
        return await self._create({})

    async def begin_warm_up(self) -> str:
        """Make the throwaway session of the warm-up and return its id."""
        return await self._create({"title": WARM_UP_TITLE})

    async def warm_up(self, session_id: str, text: str) -> None:
        """
        Play one real prompt with that *text* to its end in the throwaway session, then delete that.

        Raises:
            OpenCodeError: OpenCode failed.
        """
        prompt = {
            "model": {"providerID": WARM_UP, "modelID": WARM_UP},
            "parts": [{"type": "text", "text": text}],
        }
        await self._call("POST", f"/session/{session_id}/message", TypeAdapter(dict[str, object]), prompt)
        await self.end_warm_up(session_id)

    async def end_warm_up(self, session_id: str) -> None:
        """
        Delete the throwaway session.

        Raises:
            OpenCodeError: OpenCode failed.
        """
        await self._call("DELETE", f"/session/{session_id}", TypeAdapter(bool))

    async def _has(self, session_id: str) -> bool:
        try:
            answer = await self._client.get(f"/session/{session_id}", timeout=CALL_SECONDS)
        except httpx.HTTPError as exc:
            raise OpenCodeError("OpenCode failed at GET /session/…") from exc
        return answer.is_success

    async def _create(self, session: dict[str, str]) -> str:
        return (await self._call("POST", "/session", TypeAdapter(_Session), session)).id

    async def _call(self, method: str, path: str, shape: TypeAdapter[T], body: object = None) -> T:
        try:
            answer = await self._client.request(method, path, json=body)
            return shape.validate_json(answer.raise_for_status().content)
        except (httpx.HTTPError, ValidationError) as exc:
            raise OpenCodeError(f"OpenCode failed at {method} {path}") from exc
