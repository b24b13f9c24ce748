"""Notices that the embedded AWS has died, with the functions that were at work for the sockets."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

PAUSE_SECONDS = 0.2
"""Between two looks at an embedded AWS that is not there. It takes longer than that to start."""
CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifeline:
    """
    A connection to the embedded AWS that asks nothing, so that its end is known at once.

    The other side ends idle connections, too: so a further one tells whether anybody is there. A machine under load
    is not mistaken for a dead one, since it is the kernel that accepts.
    """

    host: str
    port: int
    pause: float = PAUSE_SECONDS

    async def watch(self, on_death: Callable[[], None]) -> None:
        """Call *on_death* at every look that finds nobody; goes on until cancelled."""
        time = asyncio.get_running_loop().time
        while True:
            began = time()
            if not await self._hold():
                on_death()
            if time() - began < self.pause:
                await asyncio.sleep(self.pause)

    async def _hold(self) -> bool:
        """Hold a connection until it ends; whether there was one."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        try:
            await reader.read()
        except OSError:
            return False
        finally:
            writer.close()
        return True
