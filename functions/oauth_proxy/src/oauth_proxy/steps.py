"""
The steps of the state machine that owns the wait for an attempt's end (statemachines/signin.asl.json).

Each step answers where the attempt stands. The machine goes on as long as that is ``pending``; how it ended is
written by whoever ends it, and every step may be repeated.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Literal, TypeVar

from pydantic import BaseModel

from oauth_proxy.attempts import AttemptService
from oauth_proxy.handover import HandOver
from oauth_proxy.sandbox import Progress, SandboxSilentError
from oauth_proxy.signin import Signin, Status
from threadbox.clock import unix_time
from threadbox.control import Access
from threadbox.errors import AppError, VaultUnavailableError
from threadbox.identifiers import ThreadId
from threadbox.telemetry import logger

SLICE = 50
# When asking again after a break: whether the sandbox is there at all shows at once.
SHORT_SILENCE = 3
STORE_PAUSE = 3
Answer = TypeVar("Answer")

ENDS = {
    "denied": Status.DENIED,
    "failed": Status.FAILED,
    "timed_out": Status.TIMED_OUT,
    "cancelled": Status.CANCELLED,
}
"""What the sandbox says, and what it means for the attempt."""


class Step(BaseModel):
    """What the state machine calls with."""

    step: Literal["begin", "wait", "fail"]
    thread_id: ThreadId
    attempt_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSteps:
    """Performs the steps."""

    attempts: AttemptService
    hand_over: HandOver
    abandon_seconds: int
    now: Callable[[], float] = unix_time
    pause: Callable[[float], None] = time.sleep

    def perform(self, step: Step, *, seconds: float) -> Status:
        """Perform one step, within *seconds*, and return where the attempt stands after it."""
        signin = self.attempts.signins.find(step.thread_id)
        if signin is None:
            return Status.CANCELLED
        if signin.attempt_id != step.attempt_id:
            return self._replaced(signin, step.attempt_id)
        if signin.status == Status.CONNECTED:
            self._settle(signin)
            return signin.status
        if not signin.live(self.now()) or step.step == "fail":
            return self._end(signin, Status.FAILED if signin.live(self.now()) else signin.status_at(self.now()))
        return self._begin(signin) if step.step == "begin" else self._wait(signin, seconds)

    def _begin(self, signin: Signin) -> Status:
        try:
            self._ask(signin, lambda access: self.attempts.sandbox.begin(access, signin.attempt_id))
        except AppError as error:
            return self._fail(signin, error)
        return Status.PENDING

    def _wait(self, signin: Signin, seconds: float) -> Status:
        if self.attempts.notices.codex(signin.thread_id, Status.PENDING, attempt_id=signin.attempt_id):
            signin = self.attempts.signins.watched(signin) or signin
        left = min(signin.expires_at, signin.watched_at + self.abandon_seconds) - self.now()
        if left <= 0:
            return self._end(signin, Status.ABANDONED if signin.live(self.now()) else Status.TIMED_OUT)
        try:
            progress = self._watch(signin, min(SLICE, seconds, ceil(left)))
        except AppError as error:
            return self._fail(signin, error)
        if progress.status == "pending":
            return Status.PENDING
        if progress.status in ("approved", "accepted"):
            return self._connect(signin)
        return self._end(signin, ENDS[progress.status])

    def _watch(self, signin: Signin, seconds: float) -> Progress:
        sandbox = self.attempts.sandbox
        try:
            return sandbox.watch(self.attempts.lend(signin), signin.attempt_id, seconds=seconds)
        except SandboxSilentError:
            access = self.attempts.lend(signin)
            return sandbox.watch(access, signin.attempt_id, seconds=0, silence=SHORT_SILENCE)

    def _connect(self, signin: Signin) -> Status:
        try:
            approved = self._ask(signin, lambda access: self.attempts.sandbox.tokens(access, signin.attempt_id))
            status = self.hand_over.store(signin, approved)
        except VaultUnavailableError as error:
            # What was approved waits in the sandbox: the next slice asks for it again.
            logger.warning("signin not stored", thread_id=signin.thread_id, code=error.code)
            self.pause(STORE_PAUSE)
            return Status.PENDING
        except AppError as error:
            return self._fail(signin, error)
        connected = self.attempts.signins.find(signin.thread_id)
        if status != Status.CONNECTED or connected is None:
            return status or Status.CANCELLED
        self._settle(connected)
        account = {"account_id": approved.account_id} if approved.account_id else {}
        self.attempts.notices.codex(signin.thread_id, status, attempt_id=signin.attempt_id, **account)
        return status

    def _settle(self, signin: Signin) -> None:
        """Have the sandbox use what was stored. One that does not hear of it now is lent it with the next turn."""
        version = signin.grant_version
        if signin.settled or version is None:
            return
        signins = self.attempts.signins
        try:
            self._ask(signin, lambda access: self.attempts.sandbox.accept(access, signin.attempt_id, version=version))
            signins.grants.note_held(signin.thread_id, version=version, generation=signin.generation)
        except AppError as error:
            logger.warning("signin not accepted", thread_id=signin.thread_id, code=error.code)
        signins.settle(signin)

    def _ask(self, signin: Signin, call: Callable[[Access], Answer]) -> Answer:
        """Call the sandbox, and once more after a broken connection: the calls may be repeated."""
        try:
            return call(self.attempts.lend(signin))
        except SandboxSilentError:
            return call(self.attempts.lend(signin))

    def _replaced(self, signin: Signin, attempt_id: str) -> Status:
        """Call off an attempt whose place was taken."""
        self.attempts.call_off(signin.model_copy(update={"attempt_id": attempt_id}))
        return signin.status_of(attempt_id, self.now()) or Status.SUPERSEDED

    def _fail(self, signin: Signin, error: AppError) -> Status:
        logger.warning("signin failed", thread_id=signin.thread_id, attempt_id=signin.attempt_id, code=error.code)
        return self._end(signin, Status.FAILED)

    def _end(self, signin: Signin, status: Status) -> Status:
        return self.attempts.end(signin, status) or Status.CANCELLED
