"""The HTTP routes of commands and files."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from sandbox_ctl.checkouts import CheckedOut, Checkout, CheckoutService
from sandbox_ctl.commands import (
    LOOK_SECONDS,
    CommandService,
    Exec,
    ExecId,
    ExecResult,
    ExecStarted,
    ExecState,
    Position,
)
from sandbox_ctl.files import FileService, Listing, Removed, Stored
from sandbox_ctl.transfers import BINARY, Download, TransferService, Upload, UploadId
from threadbox.audit import Recorder
from threadbox.preferences import Preferences

BYTES: dict[str, Any] = {BINARY: {"schema": {"type": "string", "format": "binary"}}}
# Whatever is in a file, a browser is to save it and not to show it.
SAVED = {"Cache-Control": "no-store", "Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
ACCEPTED: dict[int | str, dict[str, Any]] = {HTTPStatus.ACCEPTED.value: {"model": ExecStarted}}
Prefer = Annotated[str, Header(description="`respond-async`: 202 at once, and the rest by the exec_id")]
Flag = Annotated[str | None, Query(description="given, with or without a value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceServices:
    """What the routes call."""

    commands: CommandService
    files: FileService
    transfers: TransferService
    checkouts: CheckoutService


async def _content(request: Request) -> bytes:
    """Return the body as it came, whatever it is said to be."""
    return await request.body()


def exec_routes(services: WorkspaceServices, owned: Callable[..., str], recorder: Callable[..., Recorder]) -> APIRouter:
    """
    Commands and checkouts.

    *owned* is the dependency that returns a thread to its owner alone, *recorder* the one that records what he does.
    """
    router = APIRouter(prefix="/api/sandbox/{thread}")
    thread_of_owner = Annotated[str, Depends(owned)]
    recorder_of_owner = Annotated[Recorder, Depends(recorder)]

    @router.post("/exec", responses=ACCEPTED)
    def run(
        thread: thread_of_owner, record: recorder_of_owner, body: Exec, response: Response, prefer: Prefer = ""
    ) -> ExecResult | ExecStarted:
        """Run a command; its end is the end of all that it started."""
        background = _in_background(prefer, response)
        record("command_run", background=background)
        if not background:
            return services.commands.run(thread, body)
        return services.commands.start(thread, body)

    @router.get("/exec/{exec_id}")
    def look(
        thread: thread_of_owner,
        exec_id: ExecId,
        after: Position = "0.0",
        wait: Annotated[int, Query(ge=0, le=LOOK_SECONDS)] = 0,
    ) -> ExecState:
        """How a command in the background is; with ``wait``, as soon as there is something new, or after that time."""
        return services.commands.look(thread, exec_id, after=after, wait=wait)

    @router.delete("/exec/{exec_id}")
    def kill(thread: thread_of_owner, record: recorder_of_owner, exec_id: ExecId) -> ExecState:
        """Kill a command and all that it started."""
        record("command_killed", exec_id=exec_id)
        return services.commands.kill(thread, exec_id)

    @router.post("/git/checkout", responses=ACCEPTED)
    def checkout(
        thread: thread_of_owner, record: recorder_of_owner, body: Checkout, response: Response, prefer: Prefer = ""
    ) -> CheckedOut | ExecStarted:
        """Check out a repository."""
        background = _in_background(prefer, response)
        record("checkout_run", background=background)
        if not background:
            return services.checkouts.run(thread, body)
        return services.checkouts.start(thread, body)

    return router


def file_routes(services: WorkspaceServices, owned: Callable[..., str]) -> APIRouter:
    """Files; *owned* as above."""
    router = APIRouter(prefix="/api/sandbox/{thread}/files")
    thread_of_owner = Annotated[str, Depends(owned)]
    listed: dict[int | str, dict[str, Any]] = {HTTPStatus.OK.value: {"content": {**BYTES, "application/json": {}}}}

    @router.get("", include_in_schema=False)
    def list_workspace(thread: thread_of_owner) -> Listing:
        return services.files.list_directory(thread, "")

    @router.get("/{path:path}", response_model=Listing | Download, responses=listed)
    def get(
        thread: thread_of_owner,
        path: str,
        list_: Annotated[Flag, Query(alias="list")] = None,
        presign: Flag = None,
    ) -> Response | Listing | Download:
        """A file's bytes; with ``list`` what is in a directory; with ``presign`` where to fetch a larger file."""
        if list_ is not None:
            return services.files.list_directory(thread, path.removesuffix("/"))
        if presign is not None:
            return services.transfers.download(thread, path)
        return Response(services.files.get(thread, path), media_type=BINARY, headers=SAVED)

    @router.put("/{path:path}", openapi_extra={"requestBody": {"content": BYTES}})
    def put(
        thread: thread_of_owner, path: str, content: Annotated[bytes, Depends(_content)], presign: Flag = None
    ) -> Stored | Upload:
        """Put a file there, all at once; with ``presign``, and without a body, where to put a larger one first."""
        if presign is not None:
            return services.transfers.upload(thread, path)
        return services.files.put(thread, path, content)

    @router.post("/{path:path}")
    def commit(thread: thread_of_owner, path: str, commit: UploadId) -> Stored:
        """Put what was uploaded there, all at once."""
        return services.transfers.commit(thread, path, commit)

    @router.delete("/{path:path}")
    def delete(thread: thread_of_owner, path: str, *, recursive: bool = False) -> Removed:
        """Remove a file or a directory; one that is not empty only if that is ``recursive``."""
        return services.files.delete(thread, path, recursive=recursive)

    return router


def _in_background(prefer: str, response: Response) -> bool:
    preferences = Preferences.parse(prefer)
    if preferences.respond_async:
        response.status_code = HTTPStatus.ACCEPTED
        response.headers["Preference-Applied"] = "respond-async"
    return preferences.respond_async
