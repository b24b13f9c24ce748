"""Threadbox's side: tabs of a thread, each a WebSocket that speaks the frames of the chat protocol."""

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect

from bench.answers import Answer, NoAnswerError
from local.stack.session_token import session_token
from local.stack.stack_file import StackFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANSWER_SECONDS = 120
RESPONSE = "cf_agent_use_chat_response"
USER = "bench"


class Tab:
    """One socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, text: str, request_id: str) -> None:
        """Ask."""
        message = {"id": f"m-{request_id}", "role": "user", "parts": [{"type": "text", "text": text}]}
        body = json.dumps({"messages": [message], "trigger": "submit-message"})
        frame = {"type": "cf_agent_use_chat_request", "id": request_id, "init": {"method": "POST", "body": body}}
        await self._socket.send(json.dumps(frame))

    async def read(self, request_id: str, answer: Answer) -> Answer:
        """
        Read until the request ends.

        Raises:
            NoAnswerError: it ended with an error, or without text.

        """
        async for message in self._socket:
            frame = json.loads(message)
            if frame["type"] != RESPONSE or frame.get("id") != request_id:
                continue
            if frame["done"]:
                if frame.get("error") or not answer.pieces:
                    raise NoAnswerError(frame.get("body") or "no text")
                answer.end()
                return answer
            answer.frames += not answer.pieces
            chunk = json.loads(frame["body"]) if frame["body"] else {}
            if chunk.get("type") == "text-delta":
                answer.take(chunk["delta"])
        raise NoAnswerError("the socket was closed")


class Thread:
    """A thread with some tabs open; the first one asks, all of them read."""

    def __init__(self, identifier: str, tabs: list[Tab]) -> None:
        self.identifier = identifier
        self._tabs = tabs

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, stack: StackFile, identifier: str = "", *, tabs: int = 1) -> "AsyncIterator[Thread]":
        """Open that many tabs on a thread, on a new one if none is named; closes them."""
        identifier = identifier or f"bench-{uuid4().hex[:12]}"
        token = await asyncio.to_thread(session_token, stack, thread=identifier, user=USER, ttl=900)
        async with contextlib.AsyncExitStack() as sockets:
            opened = []
            for _ in range(tabs):
                query = urlencode({"thread": identifier, "token": token, "_pk": uuid4().hex})
                opened.append(Tab(await sockets.enter_async_context(connect(f"{stack.ws_url}?{query}"))))
            yield cls(identifier, opened)

    async def ask(self, text: str) -> Answer:
        """Ask, and give the answer as the asking tab saw it; see :meth:`ask_all`."""
        return (await self.ask_all(text))[0]

    async def ask_all(self, text: str) -> list[Answer]:
        """
        Ask, and give the answer as each tab saw it.

        Raises:
            NoAnswerError: the request failed.
            TimeoutError: it took too long.

        """
        request_id = f"request-{uuid4().hex[:16]}"
        async with asyncio.timeout(ANSWER_SECONDS):
            answers = [Answer() for _ in self._tabs]
            reads = [tab.read(request_id, answer) for tab, answer in zip(self._tabs, answers, strict=True)]
            await self._tabs[0].send(text, request_id)
            return await asyncio.gather(*reads)
