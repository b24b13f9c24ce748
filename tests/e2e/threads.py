"""A thread on the stack, as its user and the web app's backend see it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import uuid4

import httpx

from tests.e2e.chat_client import ChatClient


class Thread:
    """A thread of its own on the stack."""

    def __init__(self, stack, token: Callable[..., str], *, user: str = "ann") -> None:
        self.stack = stack
        self.name = f"thread-{uuid4().hex[:12]}"
        self.token = token(self.name, user)
        self.http = httpx.Client(
            base_url=stack.http_url, headers={"Authorization": f"Bearer {self.token}"}, timeout=httpx.Timeout(60)
        )

    def tab(self, *, rules: str = "") -> AbstractContextManager[ChatClient]:
        """Open a tab; the gateway keeps *rules* such as ``life_seconds=2`` for it."""
        gateway, _, path = self.stack.ws_url.removeprefix("ws://").partition("/")
        address = f"ws://{gateway}/_with/{rules}/{path}" if rules else self.stack.ws_url
        return ChatClient.open(address, thread=self.name, token=self.token)

    def messages(self) -> list[dict]:
        """Return the stored messages."""
        return self.http.get(f"/agents/chat/{self.name}/get-messages").raise_for_status().json()

    def texts(self) -> list[str]:
        """Return the stored texts."""
        return ["".join(part.get("text", "") for part in message["parts"]) for message in self.messages()]

    def sandbox(self) -> dict:
        """Return the sandbox's state."""
        return self.http.get(f"/api/sandbox/{self.name}").raise_for_status().json()

    def close(self) -> None:
        """Stop the sandbox."""
        self.http.delete(f"/api/sandbox/{self.name}")
        self.http.close()
