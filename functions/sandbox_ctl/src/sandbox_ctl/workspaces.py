"""
Control calls about commands and files (images/opencode/openapi.json), and the wait for a sandbox to make them to.

None of them is repeated once it may have arrived: what a command did cannot be undone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, TypeVar

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from sandbox_ctl.callkeys import CallSigner
from sandbox_ctl.daemon import PORT, audience
from sandbox_ctl.sandboxes import Sandbox, State
from sandbox_ctl.service import SandboxService
from threadbox.control import Access
from threadbox.errors import (
    AppError,
    CheckoutFailedError,
    InvalidRequestError,
    NoExecError,
    NoFileError,
    NoSpaceError,
    OpenCodeError,
    PathConflictError,
    RateLimitedError,
    SandboxUnavailableError,
    TooLargeError,
    TransferFailedError,
)
from threadbox.telemetry import correlation_headers

WAIT_SECONDS = 25
PAUSE_SECONDS = 0.5
RETRY_AFTER = 3
# Of a request's 30 s, what a call may take all in all.
WHOLE_SECONDS = 28.5
# What a call takes besides what it is for.
ROUND_TRIP_SECONDS = 2
PATH_BYTES = 4096
NAME_BYTES = 255
Shape = TypeVar("Shape", bound=BaseModel)


class _Refusal(BaseModel):
    model_config = ConfigDict(extra="ignore")

    code: str
    message: str
    reason: str = "failed"


class _NobodyThereError(Exception):
    """The call did not arrive."""


def workspace_path(path: str) -> str:
    """
    Return *path* if it can be one inside the workspace; the sandbox sees for itself to what it leads to there.

    Raises:
        ValueError: it is absolute, leads upwards, has an empty name or a NUL, is too long or no text.
    """
    encoded = path.encode()
    names = path.split("/") if path else []
    if b"\0" in encoded or any(name in ("", ".", "..") for name in names):
        raise ValueError("a path is relative to the workspace, without empty names, '.', '..' and NUL")
    if len(encoded) > PATH_BYTES or any(len(name.encode()) > NAME_BYTES for name in names):
        raise ValueError("the path is too long")
    return path


WorkspacePath = Annotated[str, AfterValidator(workspace_path)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceClient:
    """Makes them, for threads whose sandbox is started if need be."""

    sandboxes: SandboxService
    http: httpx.Client
    signer: CallSigner
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def call(
        self,
        thread_id: str,
        method: str,
        path: str,
        shape: type[Shape],
        body: BaseModel | bytes = b"",
        *,
        seconds: float,
    ) -> Shape:
        """
        Have the sandbox do what may take it *seconds*, and return what it says of it.

        Raises:
            As ``send``.
        """
        content = body if isinstance(body, bytes) else body.model_dump_json(exclude_none=True).encode()
        return _parsed(self.send(thread_id, method, path, content, seconds=seconds), shape)

    def send(self, thread_id: str, method: str, path: str, body: bytes = b"", *, seconds: float) -> httpx.Response:
        """
        Have the sandbox do what may take it *seconds*, and return its answer.

        Raises:
            SandboxUnavailableError: there is none in time; its start goes on.
            OpenCodeError: it does not answer, and may have done it.
            AppError: it refuses.
        """
        begun = self.now()
        waiting_for: int | None = None
        suspect: int | None = None
        while True:
            # Not for a turn: neither tools nor models are meant, so neither policy nor tokens need be fresh.
            answer = self.sandboxes.ensure(thread_id, scope="signin", waiting_for=waiting_for, suspect=suspect)
            if isinstance(answer, Access):
                left = WHOLE_SECONDS - (self.now() - begun) - ROUND_TRIP_SECONDS
                if seconds > left:
                    raise SandboxUnavailableError("The sandbox has only just started.", retry_after=1)
                try:
                    return self._send(self.sandboxes.get(thread_id), method, path, body, seconds=seconds)
                except _NobodyThereError as exc:
                    # Asked about a sandbox that does not answer, ECS may know that it ended.
                    if suspect == answer.generation:
                        raise OpenCodeError("The sandbox does not answer.") from exc
                    suspect = answer.generation
                    continue
            waiting_for = answer.generation
            if self.now() - begun + PAUSE_SECONDS >= WAIT_SECONDS:
                raise SandboxUnavailableError("The sandbox is still starting.", retry_after=RETRY_AFTER)
            self.pause(PAUSE_SECONDS)

    def ask(self, thread_id: str, method: str, path: str, shape: type[Shape], *, seconds: float) -> Shape:
        """
        Ask the sandbox about a command; one is never started for that.

        Raises:
            NoExecError: no sandbox runs.
            AppError: as ``send``.
        """
        sandbox = self.sandboxes.store.find(thread_id)
        if sandbox is None or sandbox.state != State.RUNNING:
            raise NoExecError("There is no such command.")
        try:
            return _parsed(self._send(sandbox, method, path, b"", seconds=seconds), shape)
        except _NobodyThereError as exc:
            raise OpenCodeError("The sandbox does not answer.", retry_after=1) from exc

    def _send(self, sandbox: Sandbox, method: str, path: str, body: bytes, *, seconds: float) -> httpx.Response:
        token = self.signer.control(audience(sandbox), method=method, path=path, body=body)
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            **correlation_headers(),
        }
        timeout = httpx.Timeout(seconds + ROUND_TRIP_SECONDS, connect=1)
        try:
            response = self.http.request(
                method, f"http://{sandbox.address}:{PORT}{path}", content=body, headers=headers, timeout=timeout
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise _NobodyThereError from exc
        except httpx.HTTPError as exc:
            raise OpenCodeError("The sandbox does not answer.") from exc
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            raise _refused(response)
        return response


def _parsed(response: httpx.Response, shape: type[Shape]) -> Shape:
    try:
        return shape.model_validate_json(response.content)
    except ValidationError as exc:
        raise OpenCodeError("The sandbox does not answer as it should.") from exc


REFUSALS: dict[str, Callable[[_Refusal], AppError]] = {
    "no_exec": lambda _: NoExecError("There is no such command."),
    "no_file": lambda _: NoFileError("There is nothing at this path."),
    "path_conflict": lambda _: PathConflictError("What is at this path does not allow it."),
    "no_space": lambda _: NoSpaceError("The sandbox's disk is full."),
    "too_large": lambda _: TooLargeError("The file is too large for this. A larger one goes with ?presign=1."),
    "too_many_execs": lambda _: RateLimitedError("Too many commands run at once.", retry_after=1),
    "checkout_failed": lambda said: CheckoutFailedError("The repository could not be checked out.", reason=said.reason),
    "transfer_failed": lambda _: TransferFailedError("The file could not be transferred."),
    "invalid_request": lambda said: InvalidRequestError(said.message),
    "not_ready": lambda _: SandboxUnavailableError("The sandbox is not ready.", retry_after=1),
}


def _refused(response: httpx.Response) -> AppError:
    """Return what a refusal means to whoever asked."""
    try:
        said = _Refusal.model_validate_json(response.content)
    except ValidationError:
        said = _Refusal(code="", message="")
    meant = REFUSALS.get(said.code)
    return meant(said) if meant else OpenCodeError("The sandbox refused a call.", status=response.status_code)
