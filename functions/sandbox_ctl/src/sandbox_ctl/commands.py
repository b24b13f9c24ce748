"""Commands in a thread's sandbox: run while one waits, or in the background and looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from sandbox_ctl.rates import RateStore
from sandbox_ctl.workspaces import WorkspaceClient, WorkspacePath
from threadbox.errors import InvalidRequestError
from threadbox.telemetry import logger

SYNC_SECONDS = 25
DEFAULT_SECONDS = 20
ASYNC_SECONDS = 3600
LOOK_SECONDS = 20
# Killing is bounded by the sandbox.
KILL_SECONDS = 20
TOLD_BYTES = 96 * 1024
ENV_BYTES = 512 * 1024
STDIN_CHARACTERS = 1024 * 1024


def _tellable(text: str) -> str:
    if "\0" in text:
        raise ValueError("there must be no NUL")
    text.encode()
    return text


def _short(text: str) -> str:
    if len(_tellable(text).encode()) > TOLD_BYTES:
        raise ValueError(f"there must be no more than {TOLD_BYTES} bytes")
    return text


def _no_more_than_linux_takes(env: dict[str, str]) -> dict[str, str]:
    if sum(len(name) + len(value.encode()) for name, value in env.items()) > ENV_BYTES:
        raise ValueError(f"there must be no more than {ENV_BYTES} bytes in all")
    return env


Text = Annotated[str, AfterValidator(_short)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
ExecId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Position = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}\.[0-9]{1,15}$")]


class Exec(BaseModel):
    """A command for bash, in the workspace or a directory of it."""

    command: Text = Field(min_length=1)
    cwd: WorkspacePath = ""
    env: Annotated[dict[Name, Text], AfterValidator(_no_more_than_linux_takes), Field(max_length=64)] = Field(
        default_factory=dict
    )
    stdin: Annotated[str, AfterValidator(_tellable), Field(max_length=STDIN_CHARACTERS)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=ASYNC_SECONDS)] | None = Field(
        default=None, description="20 when waited for (at most 25), else 3600"
    )


class ExecResult(BaseModel):
    """How it ended: ``exit_code`` is 124 at the timeout, 128 + n after signal n."""

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool = Field(description="there was more output than is kept; this is its end")
    duration_ms: int


class ExecStarted(BaseModel):
    """It runs."""

    exec_id: str


class ExecState(BaseModel):
    """How it is, with its output behind ``after``; it has ended for whoever has all of that."""

    exec_id: str
    status: Literal["running", "ended"]
    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool = Field(description="output behind `after` is missing: it was not asked for in time")
    next: str = Field(description="`after` of the next look")
    duration_ms: int


class _Order(Exec):
    exec_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandService:
    """Runs them."""

    workspaces: WorkspaceClient
    rate: RateStore
    new_id: Callable[[], str] = lambda: uuid4().hex

    def run(self, thread_id: str, order: Exec) -> ExecResult:
        """
        Run one to its end, 25 s at most.

        Raises:
            InvalidRequestError: it may take longer.
            RateLimitedError: the thread had its commands for this minute, or too many run.
            AppError: as ``WorkspaceClient.send``.
        """
        seconds = order.timeout_seconds or DEFAULT_SECONDS
        if seconds > SYNC_SECONDS:
            raise InvalidRequestError(f"timeout_seconds: more than {SYNC_SECONDS} only with Prefer: respond-async")
        self.rate.take(thread_id)
        body = _Order.model_validate({**order.model_dump(), "timeout_seconds": seconds})
        result = self.workspaces.call(thread_id, "POST", "/sandboxd/exec", ExecResult, body, seconds=seconds)
        ms = result.duration_ms
        logger.info("command ended", thread_id=thread_id, exit_code=result.exit_code, duration_ms=ms)
        return result

    def start(self, thread_id: str, order: Exec) -> ExecStarted:
        """
        Start one in the background.

        Raises:
            As ``run``.
        """
        self.rate.take(thread_id)
        seconds = order.timeout_seconds or ASYNC_SECONDS
        body = _Order.model_validate({**order.model_dump(), "timeout_seconds": seconds, "exec_id": self.new_id()})
        state = self.workspaces.call(thread_id, "POST", "/sandboxd/exec", ExecState, body, seconds=1)
        logger.info("command started", thread_id=thread_id, exec_id=state.exec_id)
        return ExecStarted(exec_id=state.exec_id)

    def look(self, thread_id: str, exec_id: str, *, after: str, wait: int) -> ExecState:
        """
        Return how it is, and what it printed behind *after*; waits *wait* seconds at most for something to tell.

        Raises:
            NoExecError: there is none, or not any more.
            AppError: as ``WorkspaceClient.send``.
        """
        path = f"/sandboxd/exec/{exec_id}?after={after}&wait={wait}"
        return self.workspaces.ask(thread_id, "GET", path, ExecState, seconds=wait + 1)

    def kill(self, thread_id: str, exec_id: str) -> ExecState:
        """
        Kill it and all that it started; of one that has ended, return how.

        Raises:
            As ``look``.
        """
        return self.workspaces.ask(thread_id, "DELETE", f"/sandboxd/exec/{exec_id}", ExecState, seconds=KILL_SECONDS)
