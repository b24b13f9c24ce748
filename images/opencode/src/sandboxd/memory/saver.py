"""
When the sandbox's memory is saved, and that it is.

After a turn, at most once in so many seconds, and at the end; a large memory less often, so that saving takes no more
than a small part of the time. A turn that left the database as it was is none.
"""

import asyncio
import io
import logging
import tempfile
import time
from collections.abc import Callable

from sandboxd.memory.contract import MemoryStatus, Restored, Upload
from sandboxd.memory.database import database_mark
from sandboxd.memory.manifest import ARCHIVE, MANIFEST, Manifest, key
from sandboxd.memory.packing import Packing, PackingError, RefusedError
from sandboxd.memory.storage import StorageClient, StorageError
from sandboxd.tasks import Tasks

logger = logging.getLogger(__name__)

IDLE = b'"type":"session.idle"'
TYPE_BYTES = 80
SHARE = 20
"""Of the time that passes, saving takes this part at most."""


class Saver:
    """
    Saves; *describe* makes the manifest of what was packed, of its sequence, SHA-256, size, entries and content.

    Nothing is saved before ``begin``.
    """

    def __init__(
        self,
        *,
        packing: Packing,
        storage: StorageClient,
        tasks: Tasks,
        describe: Callable[..., Manifest],
        every_seconds: float,
        settle_seconds: float,
        finish_seconds: float,
        share: float = SHARE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._packing = packing
        self._storage = storage
        self._tasks = tasks
        self._describe = describe
        self._every_seconds = every_seconds
        self._settle_seconds = settle_seconds
        self._finish_seconds = finish_seconds
        self._share = share
        self._now = now
        self._upload: Upload | None = None
        self._begun = False
        self._discarded = False
        self._changes = 0
        self._saved_changes = 0
        self._refused_changes = 0
        self._turn_ended = False
        self._mark: tuple[int, ...] = ()
        self._not_before = 0.0
        self._finished_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()
        self._loop: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._sequence = 0
        self._saved: int | None = None
        self._problem: str | None = None
        self.restored: Restored | None = None

    def allow(self, upload: Upload) -> None:
        """Save by this form from now on."""
        self._upload = upload
        self._wake.set()

    def begin(self) -> None:
        """The memory of before is restored, OpenCode runs: what changes from now on is to be saved."""
        self._mark = self._database_mark()
        self._begun = True
        self._loop = self._tasks.spawn(self._run())

    def see(self, event: bytes) -> None:
        """Note an event of OpenCode's."""
        if IDLE in event[:TYPE_BYTES]:
            self._turn_ended = True
            self._wake.set()

    def note_change(self) -> None:
        """Note that something changed outside of a turn."""
        self._changes += 1
        self._wake.set()

    @property
    def unsaved(self) -> bool:
        """Whether something changed that is not kept yet, and may be kept still: it does not exceed a limit."""
        self._look()
        return self._saves and self._changes > max(self._saved_changes, self._refused_changes)

    def status(self) -> MemoryStatus:
        """How things are."""
        return MemoryStatus(restored=self.restored, unsaved=self.unsaved, saved=self._saved, problem=self._problem)

    async def discard(self) -> None:
        """Save nothing from now on, for the thread is being deleted; return when nothing is under way either."""
        self._discarded = True
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        async with self._one_at_a_time:
            pass

    async def finish(self) -> None:
        """
        Save now, for an end, if anything changed since the beginning; for so many seconds at most.

        What was saved already is saved once more, as processes of the agent's may have gone on after its last turn;
        but not twice in a row.
        """
        self._look()
        if not self._saves or not self._changes:
            return
        if not self.unsaved and self._now() - self._finished_at < self._every_seconds:
            return
        try:
            async with asyncio.timeout(self._finish_seconds):
                await self._save()
            self._finished_at = self._now()
        except TimeoutError:
            self._problem = "there was no time to save"
            logger.error("memory not saved: %s", self._problem)  # noqa: TRY400 - where it was cut off says nothing

    @property
    def _saves(self) -> bool:
        return self._begun and not self._discarded and self._upload is not None

    def _look(self) -> None:
        """See whether the turns that ended have left anything."""
        if self._turn_ended and self._begun:
            self._turn_ended = False
            mark = self._database_mark()
            if mark != self._mark:
                self._mark = mark
                self._changes += 1

    def _database_mark(self) -> tuple[int, ...]:
        return database_mark(self._packing.home.database)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            # OpenCode goes on writing for a moment when a turn has ended, for one its title.
            await asyncio.sleep(max(self._settle_seconds, self._not_before - self._now()))
            self._wake.clear()
            if self.unsaved:
                await self._save()

    async def _save(self) -> None:
        async with self._one_at_a_time:
            upload, changes, began = self._upload, self._changes, self._now()
            if upload is None or self._discarded:
                return
            self._not_before = began + self._every_seconds
            try:
                await self._write(upload)
            except (PackingError, StorageError, OSError) as exc:
                self._problem = str(exc)
                logger.error("memory not saved: %s", exc)  # noqa: TRY400 - the reason is what counts
                if isinstance(exc, RefusedError):
                    self._refused_changes = changes
                asyncio.get_running_loop().call_later(self._every_seconds, self._wake.set)
            else:
                self._problem = None
                self._saved_changes = changes
            self._not_before = max(self._not_before, self._now() + self._share * (self._now() - began))

    async def _write(self, upload: Upload) -> None:
        began = self._now()
        self._sequence += 1
        sequence = self._sequence
        with tempfile.TemporaryFile() as archive:
            report = await self._packing.pack(archive)
            packed = self._now()
            sha256 = await self._storage.post(upload, key(upload.prefix, sequence, ARCHIVE), archive, report.size)
        manifest = self._describe(
            sequence=sequence, sha256=sha256, size=report.size, entries=report.entries, content=report.content
        )
        written = manifest.model_dump_json().encode()
        await self._storage.post(upload, key(upload.prefix, sequence, MANIFEST), io.BytesIO(written), len(written))
        self._saved = sequence
        logger.info(
            "saved sequence %d: %d entries, %d bytes packed, packed in %.1f s, stored in %.1f s, left out %d",
            *(sequence, report.entries, report.size, packed - began, self._now() - packed, report.unreadable),
        )
