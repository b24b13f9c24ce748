"""
What fits into a frame.

API Gateway closes a socket over a frame of more than 32 KB. A chunk travels as JSON text inside the JSON of its frame,
so that it is escaped twice: a letter takes one byte, a quotation mark four, a control character seven.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

Chunk = dict[str, Any]

FRAME_LIMIT = 32_000
"""Bytes of a frame, with some room below 32 KB."""
BODY_LIMIT = FRAME_LIMIT - 600
"""Bytes that a chunk may take in its frame: an envelope with the longest request id takes less than the rest."""
DELTA_LIMIT = BODY_LIMIT - 800
"""The same for the text of a delta, whose part has an id."""

SHORTENED = "\n… (shortened)\n"
# What a person reads; the rest names things, and is short.
_SHORTENABLE = frozenset({"input", "output", "errorText", "data", "messageMetadata"})
_QUOTES = len(json.dumps(json.dumps("")))
_LONGEST = 28_000
_SHORTEST = 8


def taken(text: str) -> int:
    """Return how many bytes *text* takes inside the body of a frame; the sum over its characters."""
    return len(_json(_json(text)).encode()) - _QUOTES


def pieces(text: str, limit: int = DELTA_LIMIT) -> Iterator[str]:
    """Yield *text* in pieces that take at most *limit* bytes each, which is seven or more; none when it is empty."""
    while text:
        size = _fitting(text[:limit], limit)
        yield text[:size]
        text = text[size:]


def fitted(chunk: Chunk) -> Chunk:
    """
    Return *chunk* as it fits into a frame: what is long in it without its middle, and with a mark in its place.

    Deltas are not shortened: they come in pieces that fit.
    """
    if _body(chunk) <= BODY_LIMIT or "delta" in chunk:
        return chunk
    fixed = {name: value for name, value in chunk.items() if name not in _SHORTENABLE}
    for length in _lengths():
        shorter = fixed | {name: shortened(chunk[name], length) for name in chunk.keys() & _SHORTENABLE}
        if isinstance(shorter.get("output"), dict):
            shorter["output"]["truncated"] = True
        if _body(shorter) <= BODY_LIMIT:
            return shorter
    return fixed | dict.fromkeys(chunk.keys() & _SHORTENABLE, SHORTENED)


def shortened(value: Any, length: int) -> Any:
    """Return *value* with strings of at most *length* characters and a mark, and lists and objects to match."""
    entries = max(1, length // 8)
    match value:
        case str() if len(value) > length:
            half = length // 2
            return value[:half] + SHORTENED + value[len(value) - half :]
        case list():
            kept = [shortened(item, length) for item in value[:entries]]
            return [*kept, SHORTENED] if len(value) > entries else kept
        case dict():
            return {shortened(name, length): shortened(item, length) for name, item in list(value.items())[:entries]}
    return value


def _fitting(text: str, limit: int) -> int:
    """Return how many characters of *text*, one at least, take at most *limit* bytes together."""
    if taken(text) <= limit:
        return len(text)
    return max(1, bisect_right(range(1, len(text)), limit, key=lambda size: taken(text[:size])))


def _lengths() -> Iterator[int]:
    length = _LONGEST
    while length >= _SHORTEST:
        yield length
        length = length * 3 // 4


def _body(chunk: Chunk) -> int:
    return taken(_json(chunk))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
