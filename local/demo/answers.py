"""An answer, and the pieces it is streamed in."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

Sleep = Callable[[float], Awaitable[None]]
Failure = Literal["401", "429", "500", "cut", "nonsense", "html"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool to call, with its arguments."""

    tool: str
    arguments: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to think, say and call, in this order; seconds between words, and one longer pause after the first."""

    thoughts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    call: Call | None = None
    delay: float = 0.0
    pause: float = 0.0
    failure: Failure | None = None
    """How to fail instead."""
    once: bool = False
    """Whether the same request is answered when it comes again."""

    @property
    def length(self) -> int:
        """In words."""
        return len(self.thoughts) + len(self.words)


def split_words(text: str) -> tuple[str, ...]:
    """*text* in pieces of one word with the space after it; joined they are *text* again."""
    return tuple(re.findall(r"\s*\S+\s*?(?=\S|$)|\s+$", text)) if text else ()


async def speak(reply: Answer, sleep: Sleep) -> AsyncIterator[tuple[Literal["thought", "word"], str]]:
    """The thoughts and then the words of *reply*, at its pace."""
    pieces = [*(("thought", piece) for piece in reply.thoughts), *(("word", piece) for piece in reply.words)]
    for index, (kind, piece) in enumerate(pieces):
        if index == 1 and reply.pause:
            await sleep(reply.pause)
        if index and reply.delay:
            await sleep(reply.delay)
        yield ("thought" if kind == "thought" else "word"), piece
