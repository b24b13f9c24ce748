"""An attempt to sign in: the row of a thread that says where its live or last one stands."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from oauth_proxy.openai import Method

PLACES = 3
"""How many calls may wait for one attempt at a time."""


class Status(StrEnum):
    """Where an attempt stands."""

    PENDING = "pending"
    CONNECTED = "connected"
    DENIED = "denied"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    ABANDONED = "abandoned"
    MISMATCH = "mismatch"
    FAILED = "failed"


class Signin(BaseModel):
    """
    The ``SIGNIN`` item. Times are epoch seconds.

    ``generation`` is that of the sandbox it runs in, ``url`` and ``instructions`` are OpenCode's, as soon as it was
    asked. ``begun`` are the times of the thread's last attempts. Of the attempt before it is known how it ended.
    ``grant_version`` is what it brought, and ``settled`` says that the sandbox was told to use it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    thread_id: str
    attempt_id: str
    user_id: str
    method: Method
    replace: bool
    status: Status = Status.PENDING
    created_at: int
    expires_at: int
    watched_at: int
    generation: int
    begun: list[int] = []
    url: str | None = None
    instructions: str | None = None
    account_id: str | None = None
    ended_at: int | None = None
    grant_version: int | None = None
    settled: bool = False
    previous_id: str | None = None
    previous_status: Status | None = None

    def status_at(self, now: float) -> Status:
        """Return where it stands: what is pending past its deadline has timed out, whether that was written or not."""
        late = self.status == Status.PENDING and now >= self.expires_at
        return Status.TIMED_OUT if late else self.status

    def status_of(self, attempt_id: str, now: float) -> Status | None:
        """Return where an attempt of the thread stands; None when it is neither this one nor the one before."""
        if attempt_id == self.attempt_id:
            return self.status_at(now)
        return self.previous_status if attempt_id == self.previous_id else None

    def live(self, now: float) -> bool:
        """Whether it still can succeed."""
        return self.status_at(now) == Status.PENDING
