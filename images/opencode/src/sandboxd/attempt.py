"""
One attempt to sign in.

    pending ──▶ approved ──▶ accepted
       │            │
       └────────────┴──▶ denied, failed, timed_out, cancelled
"""

import asyncio
import time
from collections.abc import AsyncIterator

from sandboxd.codex import Authorization, Grant, Method
from sandboxd.contract import SigninState, SigninStatus
from sandboxd.patience import in_time

HEARTBEAT = b'{"type":"heartbeat"}\n'


class Attempt:
    """How far it is, and what it left running inside OpenCode."""

    def __init__(self, attempt_id: str, method: Method, *, seconds: float) -> None:
        self.id = attempt_id
        self.method = method
        self.status = SigninStatus.PENDING
        self._deadline = time.monotonic() + seconds
        self.authorization: asyncio.Future[Authorization] = asyncio.get_running_loop().create_future()
        self.poll: asyncio.Task[None] | None = None
        """OpenCode's wait for the approval, once it has begun."""
        self.grant: Grant | None = None
        """What was approved, until it is accepted: held here and nowhere else."""
        self.unanswered = False
        """OpenCode may still be asking the provider for a code, and would take the answer for the next attempt's."""
        self._account_id: str | None = None
        self._expires_at: int | None = None
        self._left_pending = asyncio.Event()
        self._over = asyncio.Event()
        self._closed = False

    @property
    def live(self) -> bool:
        """Whether it may still end otherwise."""
        return self.status in (SigninStatus.PENDING, SigninStatus.APPROVED)

    @property
    def at_work(self) -> bool:
        """Whether something of it runs inside OpenCode."""
        if self.poll is not None:
            return not self.poll.done()
        # Once authorized, the browser's method listens for its way back.
        return self.unanswered or not self.authorization.done() or self.method is Method.BROWSER

    def state(self) -> SigninState:
        """What may be told of it: nothing of what was approved, once it is not wanted any more."""
        counts = self.status in (SigninStatus.APPROVED, SigninStatus.ACCEPTED)
        return SigninState(
            attempt_id=self.id,
            status=self.status,
            account_id=self._account_id if counts else None,
            expires_at=self._expires_at if counts else None,
        )

    def approve(self, grant: Grant, *, seconds: float) -> None:
        """Hold what was approved; from now on *seconds* at least are left to accept it."""
        self.grant = grant
        self._account_id, self._expires_at = grant.account_id, grant.expires // 1000
        self._deadline = max(self._deadline, time.monotonic() + seconds)
        self._enter(SigninStatus.APPROVED)

    def end(self, status: SigninStatus) -> None:
        """Let it end, and forget the tokens."""
        self.grant = None
        self._enter(status)

    async def wait_over(self) -> None:
        """Return when it is over, or when its time is."""
        while self.live and (left := self._deadline - time.monotonic()) > 0:
            await in_time(self._over.wait(), left)

    def close(self) -> None:
        """End the streams of whoever watches it."""
        self._closed = True
        self._left_pending.set()

    async def watch(self, *, seconds: float, heartbeat: float) -> AsyncIterator[bytes]:
        """Yield heartbeats, then how it is: once it is not pending any more, or after so many seconds."""
        until = time.monotonic() + seconds
        yield HEARTBEAT
        while not self._left_pending.is_set() and (left := until - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, heartbeat)):
                    await self._left_pending.wait()
            except TimeoutError:
                yield HEARTBEAT
        if not self._closed:
            yield self.state().model_dump_json().encode() + b"\n"

    def _enter(self, status: SigninStatus) -> None:
        self.status = status
        self._left_pending.set()
        if not self.live:
            self._over.set()
