"""Repositories checked out into a thread's sandbox."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

from pydantic import BaseModel, Field, StringConstraints

from sandbox_ctl.commands import ASYNC_SECONDS, SYNC_SECONDS, ExecStarted, ExecState
from sandbox_ctl.rates import RateStore
from sandbox_ctl.workspaces import WorkspaceClient, WorkspacePath

PREPARE_SECONDS = 5


class Checkout(BaseModel):
    """A repository, and which commit of it to have where; without ``ref`` its default branch."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] = Field(
        description="https, without credentials"
    )
    ref: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./@+-]{0,254}$")] | None = Field(
        default=None, description="a branch, a tag or a whole commit id"
    )
    target_dir: WorkspacePath | None = Field(default=None, description="the repository's name, if none is given")
    depth: int | None = Field(default=None, ge=1, le=1_000_000)


class CheckedOut(BaseModel):
    """What is there now."""

    commit: str
    path: str


class _Order(Checkout):
    timeout_seconds: float
    exec_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutService:
    """Has them checked out; each counts as a command."""

    workspaces: WorkspaceClient
    rate: RateStore
    new_id: Callable[[], str] = lambda: uuid4().hex

    def run(self, thread_id: str, order: Checkout) -> CheckedOut:
        """
        Check one out, within 25 s.

        Raises:
            InvalidRequestError: nothing is fetched from there.
            CheckoutFailedError: git failed; its ``reason`` says why.
            PathConflictError: there is something where it should be.
            AppError: as ``CommandService.run``.
        """
        self.rate.take(thread_id)
        seconds = SYNC_SECONDS - PREPARE_SECONDS
        body = _Order.model_validate({**order.model_dump(), "timeout_seconds": seconds})
        return self.workspaces.call(thread_id, "POST", "/sandboxd/git/checkout", CheckedOut, body, seconds=SYNC_SECONDS)

    def start(self, thread_id: str, order: Checkout) -> ExecStarted:
        """
        Begin to check one out in the background: a command, whose output in the end is a ``CheckedOut``.

        Raises:
            As ``run``, but for what git does.
        """
        self.rate.take(thread_id)
        said = {**order.model_dump(), "timeout_seconds": ASYNC_SECONDS, "exec_id": self.new_id()}
        body = _Order.model_validate(said)
        state = self.workspaces.call(
            thread_id, "POST", "/sandboxd/git/checkout", ExecState, body, seconds=PREPARE_SECONDS
        )
        return ExecStarted(exec_id=state.exec_id)
