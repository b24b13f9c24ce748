"""Beginning an attempt: a sandbox for it, the one row, the one call to OpenCode, and the machine that waits."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from oauth_proxy.attempts import AttemptService
from oauth_proxy.machine import SigninMachine
from oauth_proxy.openai import SECONDS, Method, state_of
from oauth_proxy.outcomes import error_of, signin_superseded
from oauth_proxy.sandbox import SandboxSilentError
from oauth_proxy.signin import Signin, Status
from threadbox.clock import unix_time
from threadbox.control import Access, Starting
from threadbox.errors import AppError, SigninEndingError
from threadbox.sessions import Session
from threadbox.telemetry import correlate, logger

PAUSE_SECONDS = 0.5
# sandboxd gives the provider 10 s to answer OpenCode, and the function has 29 s in all, however late the sandbox came.
START_TIMEOUT = 13
FUNCTION_SECONDS = 27


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizeService:
    """Begins attempts, or finds the live one."""

    attempts: AttemptService
    machine: SigninMachine
    longest: int
    now: Callable[[], float] = unix_time
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    new_id: Callable[[], str] = lambda: uuid4().hex

    def authorize(
        self, session: Session, *, method: Method, replace: bool, seconds: float, waiting_for: int | None = None
    ) -> Signin | Starting:
        """
        Return the attempt with what OpenCode says about it, or after *seconds* how far the sandbox's start has come.

        *waiting_for* is the generation that the caller has been told is starting.

        Raises:
            SandboxUnavailableError: the sandbox cannot be started.
            ForbiddenError, RateLimitedError: as :meth:`SigninStore.begin`.
            SigninEndingError: an earlier attempt is still being ended; this one waits for it.
            ProviderUnreachableError, MethodUnavailableError, OpenCodeError: it cannot be begun.
        """
        began = self.monotonic()
        thread_id = session.thread_id
        told: str | None = None
        suspect: int | None = None
        while True:
            answer = self.attempts.control.ensure(thread_id, scope="signin", waiting_for=waiting_for, suspect=suspect)
            if isinstance(answer, Access):
                if told is not None or waiting_for is not None:
                    self.attempts.notices.sandbox(thread_id, state="running", detail="ready")
                signin = self._begin(session, answer, method=method, replace=replace)
                try:
                    left = FUNCTION_SECONDS - (self.monotonic() - began)
                    return self._start(signin, answer, patience=min(START_TIMEOUT, left))
                except SandboxSilentError:
                    suspect = answer.generation
                    answer = Starting(state="running", detail="ready", generation=answer.generation)
            else:
                waiting_for = answer.generation
                if answer.detail != told:
                    told = answer.detail
                    self.attempts.notices.sandbox(thread_id, state=answer.state, detail=answer.detail)
            if self.monotonic() + PAUSE_SECONDS >= began + seconds:
                return answer
            self.pause(PAUSE_SECONDS)

    def _begin(self, session: Session, access: Access, *, method: Method, replace: bool) -> Signin:
        now = int(self.now())
        wanted = Signin(
            thread_id=session.thread_id,
            attempt_id=self.new_id(),
            user_id=session.user_id,
            method=method,
            replace=replace,
            created_at=now,
            watched_at=now,
            expires_at=now + min(self.longest, SECONDS[method]),
            generation=access.generation,
        )
        signin = self.attempts.signins.begin(wanted)
        correlate(signin.attempt_id)
        if signin.attempt_id == wanted.attempt_id and signin.previous_status == Status.SUPERSEDED:
            signin_superseded(signin)
            self.attempts.notices.codex(session.thread_id, Status.SUPERSEDED, attempt_id=signin.previous_id or "")
        return signin

    def _start(self, signin: Signin, access: Access, *, patience: float) -> Signin:
        if signin.url is None:
            signin = self._ask(signin, access, patience)
        self.machine.start(signin.thread_id, signin.attempt_id)
        return signin

    def _ask(self, signin: Signin, access: Access, patience: float) -> Signin:
        left = max(1, int(signin.expires_at - self.now()))
        try:
            started = self.attempts.sandbox.start(
                access, signin.attempt_id, method=signin.method, seconds=left, patience=patience
            )
        except (SandboxSilentError, SigninEndingError):
            raise
        except AppError:
            self.attempts.end(signin, Status.FAILED)
            raise
        known = self.attempts.signins.started(
            signin, url=started.url, instructions=started.instructions, state=state_of(started.url)
        )
        if known is None:
            return self._noted(signin)
        logger.info("signin begun", thread_id=signin.thread_id, attempt_id=signin.attempt_id, method=signin.method)
        self.attempts.notices.codex(signin.thread_id, Status.PENDING, attempt_id=signin.attempt_id)
        return known

    def _noted(self, signin: Signin) -> Signin:
        """Return the attempt as another caller noted it, unless it was ended while OpenCode was asked."""
        known = self.attempts.get(signin.thread_id)
        status = known.status_of(signin.attempt_id, self.now())
        if known.attempt_id == signin.attempt_id and status == Status.PENDING:
            return known
        self.attempts.call_off(signin)
        raise error_of(status or Status.SUPERSEDED)
