"""A page's socket as an operator's command opens one: asks, and reads the answer (docs/connect.md)."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from websockets.sync.client import ClientConnection, connect

from operate.steps import StepFailedError

Connect = Callable[[str], AbstractContextManager[ClientConnection]]
# As a browser does, it takes what comes while nobody looks.
CONNECT: Connect = partial(connect, open_timeout=30, max_queue=None)


@dataclass(frozen=True, slots=True)
class Tab:
    """One socket."""

    socket: ClientConnection

    @classmethod
    @contextmanager
    def open(cls, url: str, *, thread: str, token: str, connect: Connect = CONNECT) -> "Iterator[Tab]":
        """Open one, and close it in the end."""
        query = urlencode({"thread": thread, "token": token, "_pk": str(uuid4())})
        with connect(f"{url}?{query}") as socket:
            yield cls(socket)

    def ask(self, text: str) -> str:
        """Ask, and return the request's id."""
        request_id = f"request-{uuid4().hex[:12]}"
        message = {"id": f"message-{request_id}", "role": "user", "parts": [{"type": "text", "text": text}]}
        init = {"method": "POST", "body": json.dumps({"messages": [message], "trigger": "submit-message"})}
        self.socket.send(json.dumps({"type": "cf_agent_use_chat_request", "id": request_id, "init": init}))
        return request_id

    def answer(self, request_id: str, *, seconds: float, starting: Callable[[str], None]) -> tuple[str, float]:
        """
        Return the answer's text and the seconds until its first words; *starting* is told how far the sandbox is.

        Raises:
            StepFailedError: it ended with an error, or not within *seconds*.
        """
        began, first, text = time.monotonic(), 0.0, ""
        for frame in self._frames(began + seconds):
            if frame.get("type") != "cf_agent_use_chat_response" or frame.get("id") != request_id:
                continue
            chunk = json.loads(frame["body"]) if frame.get("body") and not frame.get("error") else {}
            if chunk.get("type") == "data-sandbox":
                starting(" ".join(str(chunk["data"][part]) for part in ("state", "detail") if chunk["data"].get(part)))
            if chunk.get("type") == "text-delta":
                first = first or time.monotonic() - began
                text += chunk["delta"]
            if frame["done"]:
                return _completed(frame, text), first
        raise AssertionError("frames end by themselves only with an error")

    def _frames(self, end: float) -> Iterator[dict[str, Any]]:
        while True:
            try:
                yield json.loads(self.socket.recv(timeout=max(0.0, end - time.monotonic()), decode=True))
            except TimeoutError:
                raise StepFailedError("the answer takes too long") from None


def _completed(frame: dict[str, Any], text: str) -> str:
    if frame.get("error") or frame.get("outcome") != "completed":
        raise StepFailedError(f"ended as {frame.get('code') or frame.get('outcome')}: {frame.get('body')}")
    if not text.strip():
        raise StepFailedError("there was not a word in it")
    return text
