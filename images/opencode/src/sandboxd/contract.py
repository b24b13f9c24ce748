"""What sandboxd is told and what it tells: the words it shares with the control plane."""

from enum import IntEnum, StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, SecretStr, StringConstraints, model_validator

from sandboxd.codex import Entry, Method, borrowed
from sandboxd.memory.contract import Memory, MemoryStatus
from sandboxd.permissions import ToolPolicy
from sandboxd.providers import BaseUrls, Keys, Model


class State(StrEnum):
    """How far the sandbox is."""

    UNBOUND = "unbound"
    RESTORING = "restoring"
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
    IDLE = 6
    TOO_OLD = 7
    NOT_RESTORED = 8


Version = Annotated[int, Field(ge=1, lt=2**53, description="grows with every change of a provider's credentials")]


class Access(BaseModel):
    """An access token on loan: the refresh token that it came with stays with the control plane."""

    access_token: SecretStr = Field(min_length=1, max_length=32_768)
    expires_at: int = Field(ge=0, lt=2**40, description="epoch seconds")
    account_id: str | None = Field(default=None, min_length=1, max_length=200)
    version: Version

    def entry(self) -> Entry:
        """It, as OpenCode takes it."""
        token = self.access_token.get_secret_value()
        return borrowed(token, expires=self.expires_at * 1000, account_id=self.account_id)


class Policy(BaseModel):
    """The thread's tool policy. Of two the one with the higher version counts."""

    policy: ToolPolicy = ToolPolicy.READ_WRITE
    version: int = Field(default=0, ge=0, lt=2**53, description="grows with every change of the policy")


class Bind(BaseModel):
    """What the control plane binds a sandbox with."""

    thread_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")
    generation: int = Field(ge=1, lt=2**53)
    model: Model | None = Field(description="the configured model, provider `default`")
    keys: Keys = Field(default={}, description="API keys by provider; they stay in sandboxd's memory")
    base_urls: BaseUrls = Field(default={}, description="other addresses than the providers' own, e.g. of a gateway")
    codex: Access | None = Field(default=None, description="what OpenCode starts with as the provider `openai`")
    tool_policy: Policy = Policy()
    memory: Memory | None = Field(default=None, description="of the thread's sandboxes; null: nothing is kept")


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
    codex_version: int | None = Field(description="of the credentials in use of the provider `openai`; null: none")
    policy_version: int | None = Field(description="of the tool policy that counts for the next prompt; null: unbound")
    memory: MemoryStatus
    log: LogRange


BROWSER_SECONDS = 290
"""OpenCode itself waits 300 s for the browser."""
AttemptId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class SigninStatus(StrEnum):
    """How far an attempt to sign in is."""

    PENDING = "pending"
    APPROVED = "approved"
    ACCEPTED = "accepted"
    DENIED = "denied"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


class Signin(BaseModel):
    """An attempt to begin."""

    attempt_id: AttemptId
    method: Method = Field(description="0: the browser comes back to an address; 1: a code is entered")
    seconds: float = Field(gt=0, le=900, description="the attempt's deadline, from now; method 0: 290 at most")

    @model_validator(mode="after")
    def _ends_before_opencode_gives_up(self) -> Self:
        if self.method is Method.BROWSER and self.seconds > BROWSER_SECONDS:
            raise ValueError("too long for this method")
        return self


class SigninBegun(BaseModel):
    """What the user needs to approve the attempt."""

    attempt_id: str
    status: SigninStatus
    url: str
    instructions: str
    method: Literal["auto"] = "auto"


class SigninState(BaseModel):
    """How an attempt is; account and expiry (epoch seconds) of what was approved, while it counts."""

    type: Literal["signin"] = "signin"
    attempt_id: str
    status: SigninStatus
    account_id: str | None
    expires_at: int | None


class Tokens(BaseModel):
    """What was approved, for the control plane to keep."""

    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    expires_at: int = Field(description="epoch seconds")
    account_id: str | None


class Accept(BaseModel):
    """The version under which the control plane keeps what was approved."""

    version: Version


class Redirect(BaseModel):
    """What the browser came back with."""

    code: SecretStr = Field(min_length=1, max_length=4096)
    state: SecretStr = Field(min_length=1, max_length=1024)


class Connected(BaseModel):
    """The version of the credentials that are in use now; null: there are none."""

    version: int | None


class Disconnected(BaseModel):
    """Whether there was anything to remove."""

    removed: bool
