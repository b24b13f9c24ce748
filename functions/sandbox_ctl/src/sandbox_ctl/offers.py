"""Which models a thread is offered: OpenCode's list, which takes the thread's sandbox to ask."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox_ctl.daemon import DaemonClient
from sandbox_ctl.models import Offer
from sandbox_ctl.service import SandboxService
from threadbox.control import Access
from threadbox.errors import OpenCodeError, SandboxUnavailableError

WAIT_SECONDS = 25
PAUSE_SECONDS = 0.5
LEARN_SECONDS = 8
"""How long OpenCode may take to learn that its user has signed in, or out: until then it lists what there was."""
RETRY_AFTER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferService:
    """Waits for a sandbox, within a request's time, and asks it."""

    sandboxes: SandboxService
    daemon: DaemonClient
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def of_thread(self, thread_id: str) -> list[Offer]:
        """
        Return the models of the thread; starts its sandbox if needed.

        Raises:
            SandboxUnavailableError: it cannot be started, or is not ready in time; the start goes on.
            OpenCodeError: it runs, and does not answer.
        """
        deadline = self.now() + WAIT_SECONDS
        waiting_for: int | None = None
        suspect: int | None = None
        while True:
            answer = self.sandboxes.ensure(thread_id, scope="turn", waiting_for=waiting_for, suspect=suspect)
            if isinstance(answer, Access):
                try:
                    wait = min(LEARN_SECONDS, max(int(deadline - self.now()), 0))
                    return self.daemon.providers(self.sandboxes.get(thread_id), wait=wait).offers()
                except OpenCodeError:
                    # Asked about a sandbox that does not answer, ECS may know that it ended.
                    if suspect == answer.generation:
                        raise
                    suspect = answer.generation
            else:
                waiting_for = answer.generation
            if self.now() + PAUSE_SECONDS >= deadline:
                raise SandboxUnavailableError("The sandbox is still starting.", retry_after=RETRY_AFTER)
            self.pause(PAUSE_SECONDS)
