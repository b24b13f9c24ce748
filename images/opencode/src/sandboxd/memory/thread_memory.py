"""A thread's memory in its sandbox: restored once, saved from then on."""

from collections.abc import Callable
from dataclasses import dataclass

from sandboxd.agent_home import AgentHome
from sandboxd.memory.archive import Limits
from sandboxd.memory.contract import Memory
from sandboxd.memory.manifest import Manifest, thread_hash
from sandboxd.memory.packing import Packing
from sandboxd.memory.restorer import Restorer
from sandboxd.memory.saver import Saver
from sandboxd.memory.storage import StorageClient
from sandboxd.settings import Settings
from sandboxd.tasks import Tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadMemory:
    """Restorer and saver, and what both pack with."""

    packing: Packing
    restorer: Restorer
    saver: Saver

    async def restore(self, memory: Memory) -> Manifest | None:
        """
        Restore the newest version that can be used, and return what it was; None when there is none.

        Raises:
            StorageError, PackingError: it cannot be known what there is, or it cannot be unpacked here.
        """
        self.saver.restored, manifest = await self.restorer.restore(memory.kept)
        return manifest


def compose_memory(
    thread_id: str,
    settings: Settings,
    *,
    home: AgentHome,
    storage: StorageClient,
    tasks: Tasks,
    describe: Callable[..., Manifest],
) -> ThreadMemory:
    """Put a thread's memory together; nothing is restored or saved yet."""
    limits = Limits(content=settings.memory_content_bytes, entries=settings.memory_entries)
    packing = Packing(home=home, limits=limits, size=settings.memory_bytes)
    return ThreadMemory(
        packing=packing,
        restorer=Restorer(packing=packing, storage=storage, thread=thread_hash(thread_id)),
        saver=Saver(
            packing=packing,
            storage=storage,
            tasks=tasks,
            describe=describe,
            every_seconds=settings.save_seconds,
            settle_seconds=settings.settle_seconds,
            finish_seconds=settings.finish_seconds,
        ),
    )
