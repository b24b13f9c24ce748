"""What the control plane orders of the sandbox's files and commands, and what it is told: the words of both."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints

from sandboxd import paths
from sandboxd.launcher import TOLD_BYTES

SECONDS = 3600
# Linux takes 2 MB of arguments and variables together, if the stack may have 8 MB.
ENV_BYTES = 512 * 1024
STDIN_BYTES = 1024 * 1024


def _in_workspace(path: str) -> str:
    paths.parse(path)
    return path


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("no NUL")
    text.encode()
    return text


def _short(text: str) -> str:
    if len(_without_nul(text).encode()) > TOLD_BYTES:
        raise ValueError("too long")
    return text


def _startable(env: dict[str, str]) -> dict[str, str]:
    if sum(len(name) + len(value.encode()) for name, value in env.items()) > ENV_BYTES:
        raise ValueError("too much")
    return env


WorkspacePath = Annotated[str, AfterValidator(_in_workspace), Field(description="relative to the workspace")]
ExecId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Text = Annotated[str, AfterValidator(_short)]


class Exec(BaseModel):
    """A command for bash. Without ``exec_id`` it is waited for; with one it is looked at by that id."""

    command: Text = Field(min_length=1)
    cwd: WorkspacePath = ""
    env: Annotated[dict[Name, Text], AfterValidator(_startable), Field(max_length=64)] = Field(default_factory=dict)
    stdin: Annotated[str, AfterValidator(_without_nul), Field(max_length=STDIN_BYTES)] | None = None
    timeout_seconds: float = Field(default=20, gt=0, le=SECONDS)
    exec_id: ExecId | None = None


class ExecResult(BaseModel):
    """How a command ended: 124 at its timeout, 128 + n by signal n. ``truncated``: not all of its output is here."""

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool
    duration_ms: int


class ExecState(BaseModel):
    """A command that is looked at, with its output behind a position, and the position behind that."""

    exec_id: ExecId
    status: Literal["running", "ended"]
    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool = Field(description="output is missing: it was dropped before anybody asked for it")
    next: str = Field(description="what to ask for as `after` the next time")
    duration_ms: int


class Checkout(BaseModel):
    """A repository to have a commit of in the workspace. Without ``exec_id`` it is waited for."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    ref: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./@+-]{0,254}$")] | None = None
    target_dir: WorkspacePath | None = None
    depth: int | None = Field(default=None, ge=1, le=1_000_000)
    timeout_seconds: float = Field(default=25, gt=0, le=SECONDS)
    exec_id: ExecId | None = None


class CheckedOut(BaseModel):
    """What is there now."""

    commit: str
    path: str


class Entry(BaseModel):
    """One name in a directory. Times are epoch seconds, sizes bytes."""

    name: str
    type: Literal["file", "directory", "symlink", "other"]
    size: int
    modified_at: int


class Listing(BaseModel):
    """A directory, sorted by name; ``truncated``: there are more entries."""

    path: str
    entries: list[Entry]
    truncated: bool


class Stored(BaseModel):
    """A file as it was written."""

    path: str
    size: int


class Removed(BaseModel):
    """Whether there was anything to remove."""

    removed: bool


class Transfer(BaseModel):
    """A file on its way to or from where ``url`` leads, which lets whoever has it read or write there."""

    path: WorkspacePath
    url: SecretStr = Field(min_length=1, max_length=8192)
    limit: int = Field(ge=1, le=2**40, description="bytes")
