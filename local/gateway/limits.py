"""The quotas of a WebSocket API."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    As AWS has them, unless said otherwise; tests scale them.

    Source: the developer guide, "Quotas for configuring and running a WebSocket API in API Gateway".
    """

    frame_bytes: int = 32 * 1024
    message_bytes: int = 128 * 1024
    url_characters: int = 4096
    integration_seconds: float = 29
    idle_seconds: float = 600
    life_seconds: float = 7200
    buffer_bytes: int = 256 * 1024
    """What may wait for a client that does not read. AWS has such a buffer ("the WebSocket client side buffer is
    full") but does not tell its size; this much comes on top of the kernel's."""
