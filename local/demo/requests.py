"""A chat completions request, as far as it decides the demo model's answer."""

import hashlib
import re
from functools import cached_property
from typing import Literal

from pydantic import BaseModel


class Part(BaseModel):
    """One part of a message's content; only text has a meaning here."""

    type: str
    text: str = ""


class Message(BaseModel):
    """A message as the chat completions API takes it; what else it carries is of no interest."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None

    def text(self) -> str:
        """The message's text, its parts joined."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class Function(BaseModel):
    """A tool's description; its name is enough here."""

    name: str


class Tool(BaseModel):
    """A tool that may be called."""

    function: Function


class StreamOptions(BaseModel):
    """``stream_options`` of a request."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The part of a chat completions request that decides the answer."""

    model: str
    messages: list[Message]
    tools: list[Tool] = []
    stream: bool = False
    stream_options: StreamOptions | None = None

    @cached_property
    def id(self) -> str:
        """The same for the same request."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:24]

    @property
    def said(self) -> list[str]:
        """What the user said, oldest first."""
        return [message.text() for message in self.messages if message.role == "user"]

    @property
    def system(self) -> str:
        """The system's prompts, joined."""
        return "\n".join(message.text() for message in self.messages if message.role in ("system", "developer"))

    @property
    def results(self) -> list[str]:
        """What the tools answered since the user's last message, oldest first."""
        roles = [message.role for message in self.messages]
        since = len(roles) - roles[::-1].index("user") if "user" in roles else 0
        return [message.text() for message in self.messages[since:] if message.role == "tool"]

    def path(self, name: str) -> str:
        """*name* as an absolute path, in the directory that OpenCode's prompt names."""
        directory = re.search(r"Working directory: (/\S*)", self.system)
        return f"{directory[1].rstrip('/')}/{name}" if directory and not name.startswith("/") else name

    def offers(self, tool: str) -> bool:
        """Whether *tool* may be called."""
        return any(each.function.name == tool for each in self.tools)
