"""Speaking to the OpenCode of a thread, through its sandboxd, with a use token (images/opencode/openapi.json)."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from chat.turn import Ask
from threadbox.control import Access
from threadbox.errors import OpenCodeError
from threadbox.telemetry import correlation_headers

SILENCE = 12
CALL_TIMEOUT = 20
CURSOR = "Event-Cursor"


class SilentError(OpenCodeError):
    """Nothing came for longer than sandboxd's heartbeat allows, or the connection broke: the sandbox may be gone."""


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of the event log.

    ``kind`` is ``cursor`` (``n``: the last event so far), ``gap`` (events before this are lost), ``event`` or
    ``heartbeat``.
    """

    kind: str
    n: int
    event: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCodeClient:
    """Calls the sandbox that an :class:`Access` leads to."""

    http: httpx.AsyncClient

    async def prompt(self, access: Access, *, part_id: str, text: str, model: str = "") -> int:
        """
        Hand the user's message to OpenCode, once however often it comes; return the number behind which its events lie.

        *part_id* (``prt_…``) becomes the id of the message's text part: by it the message is known among the events
        (measured, opencode 1.18.33). *model* is ``provider/id``, or "" for the default.

        Raises:
            SilentError: the sandbox was not reached, or takes nothing; nothing was asked.
            OpenCodeError: OpenCode refuses, or it is not known whether it was asked.
        """
        body: dict[str, Any] = {"parts": [{"id": part_id, "type": "text", "text": text}]}
        if model:
            provider, _, name = model.partition("/")
            body["model"] = {"providerID": provider, "modelID": name}
        answer = await self._call(access, "POST", f"/session/{access.session_id}/prompt_async", body)
        # A sandbox of an older image does not say: the answer is found by its part, wherever one begins to read.
        return int(answer.headers.get(CURSOR, 0))

    async def abort(self, access: Access, *, part_id: str | None = None) -> None:
        """
        Stop what the session is doing; the partial answer is kept and ``session.idle`` follows.

        With *part_id* only the work on that message is stopped, as soon as OpenCode is at it: nothing is, once it has
        been given another one.
        """
        part = f"?part={part_id}" if part_id else ""
        await self._call(access, "POST", f"/session/{access.session_id}/abort{part}", {})

    async def reply(self, access: Access, ask: Ask, answer: bool | list[list[str]]) -> None:  # noqa: FBT001 - it is one
        """
        Answer what the agent waits for: a permission with yes or no, a question with its answers or False.

        Raises:
            OpenCodeError: it waits no longer.
        """
        if isinstance(answer, list):
            await self._call(access, "POST", f"/question/{ask.id}/reply", {"answers": answer})
        elif ask.kind == "question":
            await self._call(access, "POST", f"/question/{ask.id}/reject", {})
        else:
            await self._call(access, "POST", f"/permission/{ask.id}/reply", {"reply": "once" if answer else "reject"})

    async def messages(self, access: Access) -> list[dict[str, Any]]:
        """Return the session's messages, ``[{"info", "parts"}]``, oldest first."""
        response = await self._call(access, "GET", f"/session/{access.session_id}/message")
        messages: list[dict[str, Any]] = _parsed(response.text)
        return messages

    async def delete_message(self, access: Access, message_id: str) -> None:
        """
        Delete a message from the session; the workspace stays as it is.

        Raises:
            OpenCodeError: OpenCode refuses; with status 409: the session is busy.
        """
        await self._call(access, "DELETE", f"/session/{access.session_id}/message/{message_id}")

    async def begin_anew(self, access: Access) -> str:
        """Put a new session in the place of the thread's session, whatever that is by now, and return its id."""
        response = await self._call(access, "POST", "/sandboxd/session", {})
        return str(response.json()["session_id"])

    async def events(self, access: Access, *, after: int) -> AsyncGenerator[Line]:
        """
        Yield the lines of the event log after number *after*.

        Raises:
            SilentError: nothing came for 12 s, or the connection broke.
            OpenCodeError: sandboxd refuses.
        """
        try:
            async with self.http.stream(
                "GET",
                f"{access.url}/sandboxd/events",
                params={"generation": access.generation, "after": after},
                headers=_headers(access),
                timeout=httpx.Timeout(SILENCE, connect=3),
            ) as response:
                if response.status_code != HTTPStatus.OK:
                    raise OpenCodeError("The sandbox refused to be read.", status=response.status_code)
                async for text in response.aiter_lines():
                    yield _line(text)
        except httpx.HTTPError as exc:
            raise SilentError("The sandbox fell silent.") from exc
        raise SilentError("The sandbox ended the stream.")

    async def _call(self, access: Access, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            response = await self.http.request(
                method,
                f"{access.url}{path}",
                content=None if body is None else json.dumps(body),
                headers={**_headers(access), "Content-Type": "application/json"},
                timeout=httpx.Timeout(CALL_TIMEOUT, connect=3),
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise SilentError("The sandbox does not answer.") from exc
        except httpx.HTTPError as exc:
            raise OpenCodeError("OpenCode did not answer. Please try again.") from exc
        if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            # sandboxd takes nothing: it is ending, or OpenCode is being started anew.
            raise SilentError("The sandbox takes nothing just now.")
        if response.is_error:
            raise OpenCodeError("OpenCode refused the message.", status=response.status_code)
        return response


def _headers(access: Access) -> dict[str, str]:
    return {"Authorization": f"Bearer {access.token}", **correlation_headers()}


def _parsed(text: str) -> Any:
    """Return what *text* says, without halves of characters: JavaScript may cut one, but none can be sent or stored."""
    parsed = json.loads(text)
    return _whole(parsed) if "\\ud" in text else parsed


def _whole(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {_whole(name): _whole(item) for name, item in value.items()}
    return value


def _line(text: str) -> Line:
    data = _parsed(text)
    kind = str(data["type"])
    n = data.get("n", data.get("last", data.get("first", 0)))
    return Line(kind, int(n), data.get("event") or {})
