"""The operations that sandbox_ctl offers the other functions, and what they answer."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from threadbox.errors import AppError, SandboxUnavailableError
from threadbox.telemetry import correlation

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

Scope = Literal["turn", "signin"]


CodexState = Literal["connected", "unavailable", "reconnect_required"]
"""The sandbox has an access token that lives; there is none just now; there will be none without its user."""


class Codex(BaseModel):
    """
    What a sandbox has of its thread's grant.

    ``version`` is that of its tokens, ``renew_at`` (epoch seconds) when ensure is worth calling for others.
    """

    model_config = ConfigDict(frozen=True)

    state: CodexState
    version: int = 0
    renew_at: int | None = None


class Access(BaseModel):
    """
    How to call a running sandbox: its address, a use token and how many seconds that lives.

    ``codex`` is told by ensure for a turn; None: the thread has no grant. ``phases`` is how many milliseconds each
    phase of the start took that the caller has waited for, ``ends_at`` (epoch seconds) when the sandbox will have
    become too old, if that is soon.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    token: str
    expires_in: int
    generation: int
    session_id: str
    codex: Codex | None = None
    phases: dict[str, int] = Field(default_factory=dict)
    ends_at: int | None = None


class Starting(BaseModel):
    """How far a start has come; ``phases`` is how many milliseconds each phase took that is over."""

    model_config = ConfigDict(frozen=True)

    state: str
    detail: str
    generation: int
    phases: dict[str, int] = Field(default_factory=dict)


class Disconnected(BaseModel):
    """Whether there was a grant to take back."""

    model_config = ConfigDict(frozen=True)

    removed: bool


class Forgotten(BaseModel):
    """How many versions of a thread's workspace and conversation were kept, and are no more."""

    model_config = ConfigDict(frozen=True)

    removed: int


class Resealed(BaseModel):
    """How many grants of a page were sealed anew, were current already, or cannot be opened; behind which to go on."""

    model_config = ConfigDict(frozen=True)

    sealed: int
    current: int
    unreadable: int
    after: str | None = None


class Refusal(BaseModel):
    """An error of the tree, on its way between two functions."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    retry_after: int | None = None


class Reply(BaseModel):
    """Exactly one of the eight."""

    model_config = ConfigDict(frozen=True)

    access: Access | None = None
    starting: Starting | None = None
    error: Refusal | None = None
    stopped: bool = False
    disconnected: Disconnected | None = None
    configured: bool = False
    resealed: Resealed | None = None
    forgotten: Forgotten | None = None

    @classmethod
    def of_ensure(cls, answer: Access | Starting) -> "Reply":
        """Wrap what ensure answered."""
        return cls(access=answer) if isinstance(answer, Access) else cls(starting=answer)

    @classmethod
    def of_error(cls, error: AppError) -> "Reply":
        """Wrap an error."""
        return cls(error=Refusal(code=error.code, message=str(error), retry_after=error.retry_after))

    def raised(self) -> "Reply":
        """Return the reply; if it is an error, raise it as what it was."""
        if self.error is not None:
            raise _class_of(self.error.code)(self.error.message, retry_after=self.error.retry_after)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxControlClient:
    """Invokes sandbox_ctl."""

    client: "LambdaClient"
    function: str

    def ensure(
        self,
        thread_id: str,
        *,
        scope: Scope,
        waiting_for: int | None = None,
        suspect: int | None = None,
        refused: int | None = None,
    ) -> Access | Starting:
        """
        Return access to the thread's sandbox, or how far its start has come.

        *refused* is the version of tokens that Codex's models did not take.

        Raises:
            SandboxNotEnabledError: it does not run, and the thread's owner may have no new one.
            SandboxUnavailableError: it cannot be started, or sandbox_ctl does not answer.
        """
        reply = self._invoke(
            operation="ensure",
            thread_id=thread_id,
            scope=scope,
            waiting_for=waiting_for,
            suspect=suspect,
            refused=refused,
        )
        answer = reply.access or reply.starting
        if answer is None:
            raise SandboxUnavailableError("The sandbox could not be reached just now.", retry_after=5)
        return answer

    def lend(self, thread_id: str, *, scope: Scope, generation: int) -> Access:
        """
        Return access to the running sandbox of *generation*; never starts one.

        Raises:
            StaleGenerationError: that sandbox is gone.
            SandboxUnavailableError: it is not running, or sandbox_ctl does not answer.
        """
        reply = self._invoke(operation="lend", thread_id=thread_id, scope=scope, generation=generation)
        if reply.access is None:
            raise SandboxUnavailableError("The sandbox could not be reached just now.", retry_after=5)
        return reply.access

    def stop(self, thread_id: str) -> None:
        """
        Ask the thread's sandbox to end, if it has one.

        Raises:
            ConflictError: it is only just being started.
            SandboxUnavailableError: it cannot be stopped just now, or sandbox_ctl does not answer.
        """
        self._invoke(operation="stop", thread_id=thread_id)

    def disconnect(self, thread_id: str) -> bool:
        """
        Take the thread's grant from its row and its sandbox, if it has one; False when there was none.

        Raises:
            OpenCodeError: the sandbox runs and does not let go of it; nothing was removed then.
            SandboxUnavailableError: sandbox_ctl does not answer.
        """
        reply = self._invoke(operation="disconnect", thread_id=thread_id)
        return reply.disconnected is not None and reply.disconnected.removed

    def forget(self, thread_id: str) -> int:
        """
        Delete what is kept of the thread's sandboxes, and return how many versions that were.

        Raises:
            OpenCodeError: the sandbox that runs would go on saving; nothing was deleted then.
            SandboxUnavailableError: they cannot be deleted just now, or sandbox_ctl does not answer.
        """
        reply = self._invoke(operation="forget", thread_id=thread_id)
        return reply.forgotten.removed if reply.forgotten else 0

    def configure(self, thread_id: str) -> None:
        """
        Have the thread's sandbox, if it runs, hear of its tool policy before its next turn.

        Raises:
            OpenCodeError: it does not take it.
            SandboxUnavailableError: sandbox_ctl does not answer.
        """
        self._invoke(operation="configure", thread_id=thread_id)

    def _invoke(self, **operation: Any) -> Reply:
        try:
            known = correlation()
            payload = operation | ({"correlation_id": known} if known else {})
            answer = self.client.invoke(FunctionName=self.function, Payload=json.dumps(payload))
            said = answer["Payload"].read()
            if answer.get("FunctionError"):
                raise SandboxUnavailableError("The sandbox could not be reached just now.", retry_after=5)
            return Reply.model_validate_json(said).raised()
        except (ClientError, BotoCoreError, ValidationError) as exc:
            raise SandboxUnavailableError("The sandbox could not be reached just now.", retry_after=5) from exc


def _class_of(code: str) -> type[AppError]:
    todo: list[type[AppError]] = [AppError]
    while todo:
        cls = todo.pop()
        if cls.code == code:
            return cls
        todo += cls.__subclasses__()
    return AppError
