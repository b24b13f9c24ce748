"""
The credentials in use: what auth.json has to hold of the provider, whoever writes there.

    put (a newer version) ──▶ in use ──▶ remove ──▶ none
              ▲                                       │
              └────────────── a newer version ────────┘

The file is the agent's to write, so nothing in it is believed: what is in use is put back. Only while an approval is
awaited is the file left to OpenCode, which writes what was approved there, in place.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from sandboxd.auth_file import AuthFile, AuthFileError
from sandboxd.codex import Entry

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
READ_SECONDS = 0.02
SETTLE_SECONDS = 4.0


class Credentials:
    """One provider's entry, its version, and the file. ``guard`` runs as long as OpenCode does."""

    def __init__(self, file: AuthFile) -> None:
        self._file = file
        self._entry: Entry | None = None
        self._version: int | None = None
        self._removed = 0
        """The highest version that was removed."""
        self._wanted: Callable[[], bool] = lambda: False
        self._unrestored = False

    @property
    def version(self) -> int | None:
        """The version in use, None if there is none."""
        return self._version

    @property
    def in_use(self) -> bool:
        """Whether there are any."""
        return self._entry is not None

    def put(self, entry: Entry, version: int) -> None:
        """
        Use *entry* from the next model request on, unless that version, or a newer one, was used or removed before.

        Raises:
            AuthFileError: auth.json cannot be written; what was in use stays in use.
        """
        if version <= max(self._version or 0, self._removed):
            return
        if not self._may_hold_approval():
            self._file.put(entry)
        self._entry, self._version = entry, version

    def remove(self, version: int | None) -> bool:
        """
        Use none, and none again that is not newer than *version* (omitted: than what is in use now).

        Return whether there were any.

        Raises:
            AuthFileError: auth.json cannot be written; ``restore`` goes on trying.
        """
        removed = self.in_use
        self._removed = max(self._removed, version or self._version or 0)
        self._entry = self._version = None
        self._file.put(None)
        return removed

    def restore(self) -> bool:
        """Have auth.json hold what is in use, unless an approval is awaited. False: it cannot be; logged once."""
        if self._wanted():
            return True
        try:
            if self._file.put(self._entry):
                logger.info("auth.json is put back")
        except AuthFileError as exc:
            if not self._unrestored:
                logger.warning("auth.json %s", exc)
            self._unrestored = True
            return False
        self._unrestored = False
        return True

    async def guard(self, *, every: float = LOOK_SECONDS) -> None:
        """Restore what is changed, without end; looks at the file's dates first, *every* so many seconds."""
        seen = None
        while True:
            await asyncio.sleep(every)
            stamp = self._file.stamp()
            if (stamp is None or stamp != seen) and not self._wanted():
                seen = stamp if self.restore() else None

    @contextlib.contextmanager
    def awaiting_approval(self, wanted: Callable[[], bool]) -> Iterator[None]:
        """Leave the file to OpenCode meanwhile, as long as what it waits for is *wanted*."""
        self.restore()
        self._wanted = wanted
        try:
            yield
        finally:
            self._wanted = lambda: False
            self.restore()

    async def read_approved(self) -> Entry | None:
        """Return what OpenCode has written, as soon as it can be read; None if it cannot."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while True:
                    with contextlib.suppress(AuthFileError):
                        return self._file.read()
                    await asyncio.sleep(READ_SECONDS)
        except TimeoutError:
            logger.warning("auth.json cannot be read")
            return None

    def _may_hold_approval(self) -> bool:
        """Whether the file may hold an approval that was not read yet: that must not be written over."""
        if not self._wanted():
            return False
        try:
            return self._file.read() != self._entry
        except AuthFileError:
            return True
