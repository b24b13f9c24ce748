"""What sandboxd is told and what it tells: the words it shares with the control plane."""

from enum import IntEnum, StrEnum

from pydantic import BaseModel, Field

from sandboxd.providers import BaseUrls, Keys, Model


class State(StrEnum):
    """How far the sandbox is."""

    UNBOUND = "unbound"
    BOOTING = "booting"
    READY = "ready"
    STOPPING = "stopping"


class ExitCode(IntEnum):
    """Why sandboxd ended, for whoever reads the task's exit code."""

    OK = 0
    INTERNAL = 1
    MISCONFIGURED = 2
    BOOT_FAILED = 3
    OPENCODE_DIED = 4
    NEVER_BOUND = 5


class Bind(BaseModel):
    """What the control plane binds a sandbox with."""

    thread_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")
    generation: int = Field(ge=1, lt=2**53)
    model: Model | None = Field(description="the configured model, provider `default`")
    keys: Keys = Field(default={}, description="API keys by provider; they stay in sandboxd's memory")
    base_urls: BaseUrls = Field(default={}, description="other addresses than the providers' own, e.g. of a gateway")


class LogRange(BaseModel):
    """The numbers of the oldest and the newest event kept; ``last`` is ``first - 1`` while there is none."""

    first: int
    last: int


class Status(BaseModel):
    """What sandboxd says of itself."""

    task_arn: str
    state: State
    thread_id: str | None
    generation: int | None
    session_id: str | None
    version: str
    opencode_version: str | None
    protected: bool = Field(description="the agent runs as another user than sandboxd")
    log: LogRange
