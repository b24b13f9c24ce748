"""
One wait of OpenCode's for an approval.

OpenCode polls the provider without end, and writes an approval into auth.json whoever still wants it. So the entry of
before is kept here, and put back at the very moment of an approval: what was approved is handed to our caller alone,
who may want it or not.
"""

import asyncio
import contextlib
import logging

import httpx

from sandboxd import codex
from sandboxd.auth_file import AuthFile, AuthFileError
from sandboxd.codex import CallbackEnd, Entry, Method

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
REFRESH_SECONDS = 1.0
"""A change of the file that the wait outlives by so long is OpenCode's refresh of the tokens that are in use."""
SETTLE_SECONDS = 2.0


class PollLoop:
    """``run`` once. ``kept`` is the entry that is in use, which the loop must not change; None: there is none."""

    def __init__(self, client: httpx.AsyncClient, file: AuthFile, method: Method) -> None:
        self._client = client
        self._file = file
        self._method = method
        self._changed: Entry | None = None
        self._explained = asyncio.Event()
        self._explained.set()
        self.kept: Entry | None = None
        self.ended = False

    async def run(self) -> tuple[CallbackEnd, Entry | None]:
        """
        Wait for the end of it, however long that takes, and return how it ended, with what was approved.

        From then on auth.json is as it was.
        """
        self.kept = await self._read_settled()
        tracker = asyncio.create_task(self._track_refreshes())
        try:
            end = await codex.callback(self._client, self._method)
        finally:
            tracker.cancel()
            self.ended = True
            self._explained.set()
        if end is not CallbackEnd.APPROVED:
            return end, None
        approved = await self._read_settled()
        if self._changed not in (None, approved):
            self.kept = self._changed
        self.put_back()
        return end, approved

    def put_back(self) -> None:
        """Make auth.json what it was, whatever was written since; for when OpenCode has ended, too."""
        try:
            self._file.put(self.kept)
        except AuthFileError as exc:
            logger.warning("auth.json %s", exc)

    async def settle(self) -> None:
        """Return when a change of auth.json, if there was one just now, is known for what it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._explained.wait()

    async def _track_refreshes(self) -> None:
        """Tokens that OpenCode refreshed must not be put back to those it had before: those are used up."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(AuthFileError):
                if (entry := self._file.read()) is not None and entry != self.kept:
                    self._changed = entry
                    self._explained.clear()
                    await asyncio.sleep(REFRESH_SECONDS)
                    self.kept, self._changed = entry, None
                    self._explained.set()

    async def _read_settled(self) -> Entry | None:
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            try:
                return self._file.read()
            except AuthFileError as exc:
                if asyncio.get_running_loop().time() > deadline:
                    logger.warning("auth.json %s", exc)
                    return None
            await asyncio.sleep(LOOK_SECONDS)
