"""Waiting, with a bound."""

import asyncio
from collections.abc import Awaitable


async def in_time(awaited: Awaitable[object], seconds: float) -> bool:
    """Await it for so long at most, and return whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await awaited
    except TimeoutError:
        return False
    return True
