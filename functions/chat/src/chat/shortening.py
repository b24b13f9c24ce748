"""Shortening what is too long, by its middle: beginnings and ends tell the most."""

import json

from chat.sizes import SHORTENED
from chat.sizes import shortened as without_middles


def escaped_size(text: str) -> int:
    """Return how many bytes *text* takes in a function's answer, as a string in JSON."""
    return len(json.dumps(text))


def fitting(body: str, size: int) -> str:
    """Return a message's JSON, shortened if need be, so that it takes *size* bytes of a function's answer at most."""
    limit = size
    while escaped_size(body) > size:
        body = shortened(body, limit)
        limit //= 2
    return body


def shortened(body: str, size: int) -> str:
    """Return a message's JSON in *size* bytes: its texts shortened, and if need be its last parts left out."""
    message = json.loads(body)
    limit = size // 2
    while len(body.encode()) > size:
        if limit < len(SHORTENED):
            message["parts"].pop()
        else:
            message = without_middles(message, limit)
            limit //= 2
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return body
