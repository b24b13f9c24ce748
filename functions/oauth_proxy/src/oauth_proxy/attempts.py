"""What can be done to an attempt from anywhere: looking at it, ending it, and calling it off where it runs."""

from collections.abc import Callable
from dataclasses import dataclass

from oauth_proxy.outcomes import signin_ended
from oauth_proxy.sandbox import SigninClient
from oauth_proxy.signin import Signin, Status
from oauth_proxy.signins import SigninStore
from threadbox.audit import AuditTrail
from threadbox.clock import unix_time
from threadbox.control import Access, SandboxControlClient
from threadbox.errors import AppError, NoSigninError
from threadbox.notices import Notices
from threadbox.telemetry import logger


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptService:
    """The attempts of threads."""

    signins: SigninStore
    control: SandboxControlClient
    sandbox: SigninClient
    notices: Notices
    audit: AuditTrail
    now: Callable[[], float] = unix_time

    def get(self, thread_id: str) -> Signin:
        """
        Return the thread's live or last attempt.

        Raises:
            NoSigninError: there never was one.
        """
        signin = self.signins.find(thread_id)
        if signin is None:
            raise NoSigninError("There is no sign-in.")
        return signin

    def look(self, thread_id: str) -> Signin:
        """Return the thread's live or last attempt, as somebody who watches it."""
        signin = self.get(thread_id)
        return (self.signins.watched(signin) if signin.live(self.now()) else None) or signin

    def cancel(self, thread_id: str) -> Signin:
        """
        End the live attempt and return it; one that has ended stays as it is.

        Raises:
            NoSigninError: there never was one.
        """
        signin = self.get(thread_id)
        if signin.live(self.now()):
            self.end(signin, Status.CANCELLED)
            return self.get(thread_id)
        return signin

    def disconnect(self, thread_id: str, *, user_id: str) -> bool:
        """
        Take the thread's grant back, an attempt under way included, for its owner *user_id*; False when it had none.

        Raises:
            OpenCodeError, SandboxUnavailableError: it could not be taken from the sandbox just now.
        """
        self.audit.record("codex_disconnected", thread_id=thread_id, user_id=user_id)
        signin = self.signins.find(thread_id)
        if signin is not None and signin.live(self.now()):
            self.end(signin, Status.CANCELLED)
        removed = self.control.disconnect(thread_id)
        self.notices.codex(thread_id, "disconnected")
        return removed

    def end(self, signin: Signin, status: Status) -> Status | None:
        """
        End the attempt otherwise than connected, and return how it did end; None when its row is gone.

        Of several who end it one wins, and tells the sockets; the attempt is called off in its sandbox in any case.
        """
        ended = self.signins.end(signin.thread_id, signin.attempt_id, status)
        if ended is not None:
            signin_ended(signin, status, now=self.now())
            self.call_off(signin)
            self.notices.codex(signin.thread_id, status, attempt_id=signin.attempt_id)
            return status
        known = self.signins.find(signin.thread_id)
        now_is = known.status_of(signin.attempt_id, self.now()) if known else None
        if now_is != Status.CONNECTED:
            self.call_off(signin)
        return now_is

    def call_off(self, signin: Signin) -> None:
        """Have the sandbox end it. One that cannot be reached ends it by itself: it has a deadline of its own."""
        try:
            self.sandbox.cancel(self.lend(signin), signin.attempt_id)
        except AppError as error:
            logger.info("signin not called off", thread_id=signin.thread_id, code=error.code)

    def lend(self, signin: Signin) -> Access:
        """
        Return access to the sandbox that the attempt runs in.

        Raises:
            StaleGenerationError, SandboxUnavailableError: it is gone, or cannot be reached.
        """
        return self.control.lend(signin.thread_id, scope="signin", generation=signin.generation)
