"""What a thread's user is told of its sandbox, and of its Codex connection."""

from pydantic import BaseModel, Field

from sandbox_ctl.sandboxes import Sandbox, State
from threadbox.grants import Grant


class CodexStatus(BaseModel):
    """The connection as its user sees it; ``expires_at`` (epoch seconds) is the end of the access token of now."""

    connected: bool = False
    account_id: str | None = None
    expires_at: int | None = None
    reconnect_required: bool = False

    @classmethod
    def of(cls, grant: Grant | None) -> "CodexStatus":
        """Return what is told of *grant*."""
        if grant is None:
            return cls()
        return cls(
            connected=not grant.reconnect_required,
            account_id=grant.account_id or None,
            expires_at=grant.expires_at,
            reconnect_required=grant.reconnect_required,
        )


class Status(BaseModel):
    """
    A sandbox as its user sees it. Times are epoch seconds.

    ``phases`` is how many milliseconds each phase of its start took, ``last_active_at`` when the last turn began; it
    ends at ``ends_at``, however much it is used.
    """

    state: State
    detail: str | None = None
    generation: int = 0
    requested_at: int | None = None
    started_at: int | None = None
    last_active_at: int | None = None
    ends_at: int | None = None
    phases: dict[str, int] = Field(default_factory=dict)
    size: str | None = None
    opencode_version: str | None = None
    reason: str | None = None
    codex: CodexStatus = CodexStatus()

    @classmethod
    def of(
        cls,
        sandbox: Sandbox | None,
        grant: Grant | None,
        *,
        ends_at: int | None = None,
        active_at: int | None = None,
    ) -> "Status":
        """Return what is told of *sandbox*; a thread that never had one has one that is stopped."""
        seen = sandbox.model_dump(include=set(cls.model_fields)) if sandbox else {"state": State.STOPPED}
        size = sandbox.launch.size if sandbox else None
        return cls.model_validate(
            {**seen, "size": size, "ends_at": ends_at, "last_active_at": active_at, "codex": CodexStatus.of(grant)}
        )
