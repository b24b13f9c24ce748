"""A chat client in Python: speaks the frames of the protocol over a real socket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from websockets.sync.client import ClientConnection, connect

PATIENCE = 90
_numbers = count(1)


@dataclass
class Answer:
    """What came for one request."""

    text: str = ""
    chunks: list[dict[str, Any]] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """How it ended."""
        return "error" if self.last.get("error") else str(self.last["outcome"])

    def kinds(self) -> list[str]:
        """Return the types of its chunks."""
        return [chunk["type"] for chunk in self.chunks]


class ChatClient:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.received: list[str] = []

    @classmethod
    @contextmanager
    def open(cls, ws_url: str, *, thread: str, token: str) -> "Iterator[ChatClient]":
        """Open a tab, and close it in the end."""
        query = urlencode({"thread": thread, "token": token, "_pk": uuid4().hex})
        with cls.at(f"{ws_url}?{query}") as tab:
            yield tab

    @classmethod
    @contextmanager
    def at(cls, address: str) -> "Iterator[ChatClient]":
        """Open a tab at a complete address, and close it in the end."""
        # As a browser does, it takes what comes while nobody looks: a tab that does not is closed.
        with connect(address, open_timeout=30, max_queue=None) as socket:
            yield cls(socket)

    def send(self, frame: dict[str, Any] | str) -> None:
        """Send a frame."""
        self._socket.send(frame if isinstance(frame, str) else json.dumps(frame))

    def ask(self, text: str, *, request_id: str | None = None, model: str | None = None) -> str:
        """Ask, and return the request id."""
        request_id = request_id or f"request-{next(_numbers)}-{uuid4().hex[:8]}"
        message = {"id": f"message-{request_id}", "role": "user", "parts": [{"type": "text", "text": text}]}
        chosen = {"model": model} if model else {}
        body = json.dumps({"messages": [message], "trigger": "submit-message", **chosen})
        self.send({"type": "cf_agent_use_chat_request", "id": request_id, "init": {"method": "POST", "body": body}})
        return request_id

    def probe(self) -> None:
        """Ask whether an answer is under way, as the newest client does when its page is there."""
        self.send({"type": "cf_agent_stream_resume_request", "probeId": uuid4().hex})

    def stop(self, request_id: str) -> None:
        """Stop the answer."""
        self.send({"type": "cf_agent_chat_request_cancel", "id": request_id})

    def frames(self, *, seconds: float = PATIENCE) -> Iterator[dict[str, Any]]:
        """Yield frames as they come, for *seconds* at most."""
        end = monotonic() + seconds
        while True:
            text = self._socket.recv(timeout=max(0.0, end - monotonic()), decode=True)
            self.received.append(text)
            yield json.loads(text)

    def until(self, kind: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """Return the next chunk of that type."""
        for frame in self.frames(seconds=seconds):
            if frame["type"] == "cf_agent_use_chat_response" and not frame["done"] and frame["body"]:
                chunk: dict[str, Any] = json.loads(frame["body"])
                if chunk["type"] == kind:
                    return chunk
        raise AssertionError("unreachable")

    def until_frame(self, kind: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """Return the next frame of that type."""
        return next(frame for frame in self.frames(seconds=seconds) if frame["type"] == kind)

    def answer(self, request_id: str, *, seconds: float = PATIENCE) -> Answer:
        """
        Read until the request ends.

        Offered to attach to it, the tab says that it wants to and begins anew: what comes next is a replay.
        """
        answer = Answer()
        offered = False
        for frame in self.frames(seconds=seconds):
            if frame.get("id") != request_id:
                continue
            if frame["type"] == "cf_agent_stream_resuming":
                self.send({"type": "cf_agent_stream_resume_ack", "id": request_id})
                answer, offered = Answer(), True
            if frame["type"] != "cf_agent_use_chat_response":
                continue
            assert not offered or frame.get("replay"), "a live frame came between the offer and the replay"
            offered = False
            if frame["done"]:
                answer.last = frame
                break
            if frame["body"]:
                chunk = json.loads(frame["body"])
                answer.chunks.append(chunk)
                answer.text += chunk.get("delta", "") if chunk["type"] == "text-delta" else ""
        return answer
