"""What a thread's user is told of its sandbox."""

from pydantic import BaseModel

from sandbox_ctl.sandboxes import Sandbox, State


class Status(BaseModel):
    """A sandbox as its user sees it. Times are epoch seconds."""

    state: State
    detail: str | None = None
    generation: int = 0
    requested_at: int | None = None
    started_at: int | None = None
    opencode_version: str | None = None
    reason: str | None = None

    @classmethod
    def of(cls, sandbox: Sandbox | None) -> "Status":
        """Return what is told of *sandbox*; a thread that never had one has one that is stopped."""
        if sandbox is None:
            return cls(state=State.STOPPED)
        return cls.model_validate(sandbox.model_dump(include=set(cls.model_fields)))
