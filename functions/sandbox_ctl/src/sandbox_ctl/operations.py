"""The operations that other functions invoke, and operators (reseal)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from sandbox_ctl.resealing import ResealService
from sandbox_ctl.service import SandboxService
from threadbox.control import Disconnected, Forgotten, Reply
from threadbox.errors import AppError, InvalidRequestError
from threadbox.identifiers import ThreadId
from threadbox.telemetry import logger


class Ensure(BaseModel):
    """Start the sandbox if needed; access when it runs."""

    operation: Literal["ensure"]
    thread_id: ThreadId
    scope: Literal["turn", "signin"]
    waiting_for: int | None = None
    suspect: int | None = None
    refused: int | None = None


class Lend(BaseModel):
    """Access to the running sandbox of a generation."""

    operation: Literal["lend"]
    thread_id: ThreadId
    scope: Literal["turn", "signin"]
    generation: int


class Stop(BaseModel):
    """The end of the thread's sandbox, if it has one."""

    operation: Literal["stop"]
    thread_id: ThreadId


class Disconnect(BaseModel):
    """The end of the thread's Codex connection, if it has one."""

    operation: Literal["disconnect"]
    thread_id: ThreadId


class Configure(BaseModel):
    """The thread's tool policy, told to its sandbox if that runs."""

    operation: Literal["configure"]
    thread_id: ThreadId


class Forget(BaseModel):
    """The end of what is kept of the thread's sandboxes."""

    operation: Literal["forget"]
    thread_id: ThreadId


class Reseal(BaseModel):
    """Another page of grants under the vault's current key; ``after`` is where the page before ended."""

    operation: Literal["reseal"]
    after: str | None = Field(default=None, max_length=4096)


Operation = Ensure | Lend | Stop | Disconnect | Configure | Forget | Reseal
OPERATION: TypeAdapter[Operation] = TypeAdapter(Annotated[Operation, Field(discriminator="operation")])


def perform(service: SandboxService, resealing: ResealService, event: dict[str, Any]) -> dict[str, Any]:
    """Perform the operation that *event* names; an error is an answer too. Each leaves one line in the log."""
    try:
        reply = _perform(service, resealing, event)
    except AppError as error:
        reply = Reply.of_error(error)
    outcome = next(iter(reply.model_fields_set))
    code = reply.error.code if reply.error else None
    logger.info(outcome, operation=event.get("operation"), thread_id=event.get("thread_id"), code=code)
    return reply.model_dump(mode="json", exclude_none=True)


def _perform(  # noqa: PLR0911 - one for each operation
    service: SandboxService, resealing: ResealService, event: dict[str, Any]
) -> Reply:
    try:
        operation = OPERATION.validate_python(event)
    except ValidationError as exc:
        raise InvalidRequestError("There is no such operation.") from exc
    if isinstance(operation, Stop):
        service.stop(operation.thread_id)
        return Reply(stopped=True)
    if isinstance(operation, Disconnect):
        return Reply(disconnected=Disconnected(removed=service.disconnect(operation.thread_id)))
    if isinstance(operation, Configure):
        service.configure(operation.thread_id)
        return Reply(configured=True)
    if isinstance(operation, Forget):
        return Reply(forgotten=Forgotten(removed=service.forget(operation.thread_id)))
    if isinstance(operation, Reseal):
        return Reply(resealed=resealing.reseal(operation.after))
    if isinstance(operation, Lend):
        access = service.lend(operation.thread_id, scope=operation.scope, generation=operation.generation)
        return Reply(access=access)
    answer = service.ensure(
        operation.thread_id,
        scope=operation.scope,
        waiting_for=operation.waiting_for,
        suspect=operation.suspect,
        refused=operation.refused,
    )
    return Reply.of_ensure(answer)
