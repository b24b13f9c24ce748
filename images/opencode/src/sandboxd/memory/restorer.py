"""Bringing back what an earlier sandbox of the thread left, before OpenCode starts."""

import logging
import tempfile
from dataclasses import dataclass

from pydantic import ValidationError

from sandboxd.memory.contract import Kept, Restored
from sandboxd.memory.manifest import MANIFEST_BYTES, Manifest
from sandboxd.memory.packing import Packing, RefusedError
from sandboxd.memory.storage import MissingError, StorageClient, TooLargeError

logger = logging.getLogger(__name__)


class UnusableError(Exception):
    """A version is broken, or another thread's."""


@dataclass(slots=True, kw_only=True)
class Restorer:
    """Restores the newest version that is one; *thread* is the thread's hash."""

    packing: Packing
    storage: StorageClient
    thread: str

    async def restore(self, kept: list[Kept]) -> tuple[Restored, Manifest | None]:
        """
        Restore the first of *kept* that can be used, and return what it was.

        Raises:
            StorageError: S3 cannot be asked; what there is must not be taken for lost.
            PackingError: this sandbox cannot unpack anything.
        """
        if not kept:
            return Restored.NOTHING, None
        if not self.packing.empty():
            # Not a new container: nothing is newer than what lies here.
            logger.warning("the workspace is not empty, nothing is restored into it")
            return Restored.NOTHING, None
        for version in kept:
            try:
                manifest = await self._restore(version)
            except (UnusableError, MissingError, TooLargeError, RefusedError) as exc:
                logger.warning("version %s is not used: %s", (version.generation, version.sequence), exc)
                continue
            logger.info(
                "restored generation %d, sequence %d: %d entries, %d bytes",
                *(manifest.generation, manifest.sequence, manifest.entries, manifest.content),
            )
            return Restored.RESTORED, manifest
        return Restored.LOST, None

    async def _restore(self, version: Kept) -> Manifest:
        written = await self.storage.read(version.manifest_url.get_secret_value(), MANIFEST_BYTES)
        try:
            manifest = Manifest.model_validate_json(written)
        except ValidationError as exc:
            raise UnusableError("its manifest is none") from exc
        named = (self.thread, version.generation, version.sequence)
        if named != (manifest.thread, manifest.generation, manifest.sequence):
            raise UnusableError("its manifest is another one's")
        limits = self.packing.limits
        if manifest.size > self.packing.size or manifest.entries > limits.entries or manifest.content > limits.content:
            raise UnusableError("it is too large")
        with tempfile.TemporaryFile() as archive:
            url = version.archive_url.get_secret_value()
            if manifest.sha256 != await self.storage.download(url, archive, manifest.size):
                raise UnusableError("its archive is not the one that was saved")
            await self.packing.unpack(archive)
        return manifest
