"""One answer as a client saw it, on whichever side it asked."""

import time
from dataclasses import dataclass, field


class NoAnswerError(Exception):
    """The other side ended the request with an error, or without any text."""


@dataclass(slots=True)
class Answer:
    """
    Text with the times of its first and last piece, and of its end.

    ``sent_at`` is Unix time, so that it can be held against other processes' clocks; what is measured with it counts
    seconds from the sending on.
    """

    sent_at: float = field(default_factory=time.time)
    pieces: list[str] = field(default_factory=list)
    frames: int = 0
    """Frames up to and with the one that brought the first text."""
    first: float = 0
    last: float = 0
    whole: float = 0
    """When the other side had said that it is done."""
    _started: float = field(default_factory=time.perf_counter)

    def take(self, piece: str) -> None:
        """Note a piece of text that came just now."""
        self.last = time.perf_counter() - self._started
        if not self.pieces:
            self.first = self.last
        self.pieces.append(piece)

    def end(self) -> None:
        """Note that nothing follows."""
        self.whole = time.perf_counter() - self._started

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)
