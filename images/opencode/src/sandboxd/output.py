"""What a command prints: the last of each stream, addressed by where it stood in all of it."""

import codecs
import json

KEPT_BYTES = 1024 * 1024


class Kept:
    """The end of a stream of bytes. Positions count from its beginning, whatever has been dropped."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self._dropped = 0
        self._closed = False

    @property
    def truncated(self) -> bool:
        """Whether its beginning is gone."""
        return self._dropped > 0

    @property
    def begin(self) -> int:
        """The position of the first byte that is kept."""
        return self._dropped

    @property
    def end(self) -> int:
        """The position behind its last byte."""
        return self._dropped + len(self._bytes)

    def __len__(self) -> int:
        """How many bytes are kept."""
        return len(self._bytes)

    def add(self, more: bytes) -> None:
        """Append *more*, and drop from the beginning what is too much."""
        self._bytes += more
        if (surplus := len(self._bytes) - self._limit) > 0:
            del self._bytes[:surplus]
            self._dropped += surplus

    def close(self) -> None:
        """Nothing more comes: half a character at the end is not waited for any longer."""
        self._closed = True

    def read(self, after: int, limit: int) -> tuple[str, int]:
        """
        Return what is kept from position *after* on as text, and the position behind it.

        At most *limit* bytes; whole characters, and U+FFFD for what is none.
        """
        start = min(max(after, self._dropped), self.end)
        begin = start - self._dropped
        piece = bytes(self._bytes[begin : begin + limit])
        final = self._closed and start + len(piece) == self.end
        # What was dropped may have ended within a character.
        torn = len(piece) - len(piece[:3].lstrip(_CONTINUATIONS)) - len(piece[3:]) if start > after else 0
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(piece[torn:], final=final)
        pending, _ = decoder.getstate()
        return text, start + len(piece) - len(pending)

    def tail(self, limit: int) -> tuple[str, bool]:
        """Return all that is kept as text, or the end of it whose JSON fits into *limit* bytes; whether that is all."""
        text, _ = self.read(0, self._limit)
        whole = not self.truncated
        while (size := len(json.dumps(text, ensure_ascii=False).encode())) > limit:
            text = text[len(text) - max(len(text) * limit // size - 1, 0) :]
            whole = False
        return text, whole


_CONTINUATIONS = bytes(range(0x80, 0xC0))
