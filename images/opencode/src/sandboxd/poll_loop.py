"""
One wait of OpenCode's for an approval.

OpenCode polls the provider without end, and writes an approval into auth.json whoever still wants it. So the entry of
before is kept here, and put back at the very moment of an approval: what was approved is handed to our caller alone,
who may want it or not.
"""

import asyncio
import contextlib
import logging
import time

import httpx

from sandboxd import codex
from sandboxd.auth_file import AuthFile, AuthFileError
from sandboxd.codex import CallbackEnd, Entry, Method

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
REFRESH_SECONDS = 1.0
"""A change of the file that the wait outlives by so long is OpenCode's refresh of the tokens that are in use."""
SETTLE_SECONDS = 4.0


class PollLoop:
    """``run`` once. ``kept`` is the entry that is in use, which the loop must not change; None: there is none."""

    def __init__(self, client: httpx.AsyncClient, file: AuthFile, method: Method) -> None:
        self._client = client
        self._file = file
        self._method = method
        self._changed: Entry | None = None
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
        if end is not CallbackEnd.APPROVED:
            return end, None
        approved = await self._read_settled()
        if self._changed not in (None, approved):
            self.kept = self._changed
        self.put_back()
        return end, approved

    def forget(self) -> None:
        """There is nothing in use any more."""
        self.kept = self._changed = None

    def put_back(self) -> None:
        """Make auth.json what it was, whatever was written since; for when OpenCode has ended, too."""
        try:
            self._file.put(self.kept)
        except AuthFileError as exc:
            logger.warning("auth.json %s", exc)

    async def settle(self) -> None:
        """Return when auth.json holds nothing but what is known for what it is, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                while True:
                    if self.ended or self._look() == self.kept:
                        return
                    await asyncio.sleep(LOOK_SECONDS)

    async def _track_refreshes(self) -> None:
        """Tokens that OpenCode refreshed must not be put back to those it had before: those are used up."""
        since = 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            entry, now = self._look(), time.monotonic()
            if entry == self.kept:
                self._changed = None
            elif entry != self._changed:
                self._changed, since = entry, now
            elif now - since >= REFRESH_SECONDS:
                self.kept, self._changed = entry, None

    def _look(self) -> Entry | None:
        """The entry in use, as far as that can be told now: only one of the same account can be its refresh."""
        try:
            entry = self._file.read()
        except AuthFileError:
            return self._changed or self.kept
        if entry is None or self.kept is None or entry.get("accountId") != self.kept.get("accountId"):
            return self.kept
        return entry

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
