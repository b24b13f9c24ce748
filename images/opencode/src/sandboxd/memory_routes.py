"""The routes by which the control plane sees to a sandbox's memory; for control calls alone."""

from fastapi import APIRouter

from sandboxd.memory.contract import Discarded, MemoryStatus, Upload
from sandboxd.sandbox import Sandbox


def memory_routes(sandbox: Sandbox) -> APIRouter:
    """The routes below ``/sandboxd/memory``."""
    router = APIRouter(prefix="/sandboxd/memory")

    @router.put("")
    async def allow_saving(body: Upload) -> MemoryStatus:
        """Save by this form from now on; the one before is over soon."""
        sandbox.memory.saver.allow(body)
        return sandbox.memory.saver.status()

    @router.delete("")
    async def discard_memory() -> Discarded:
        """Save nothing any more, for the thread is being deleted; what was under way has ended with the answer."""
        await sandbox.memory.saver.discard()
        return Discarded()

    return router
