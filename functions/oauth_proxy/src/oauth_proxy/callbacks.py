"""
Waiting for an attempt's end, for as long as one request may; the machine waits on, whoever watches.

A call that may not wait any longer is sent on to itself (a *hop*), and keeps its place among those that wait. Its
token was good when it began to wait: that it expires on the way ends nothing, for that attempt and its user.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from oauth_proxy.attempts import AttemptService
from oauth_proxy.openai import Method
from oauth_proxy.outcomes import error_of
from oauth_proxy.signin import Signin, Status
from threadbox.clock import unix_time
from threadbox.errors import (
    AppError,
    ForbiddenError,
    NoSigninError,
    OpenCodeError,
    RateLimitedError,
    UnauthorizedError,
)
from threadbox.sessions import CLOCK_SKEW, Session

LOOK_EVERY = 0.25
BUSY_RETRY_AFTER = 5
# How long the end of an attempt is still told to a token that expired while it was waited for.
TOLD_LATE = 60
# Told once the sandbox has what it needs for the next prompt, or as soon as that is overdue.
SETTLING = 5


@dataclass(frozen=True, slots=True)
class Connected:
    """The attempt succeeded."""

    account_id: str | None


@dataclass(frozen=True, slots=True)
class Pending:
    """It goes on; ``watcher`` has kept a place for the next hop, or is None."""

    attempt_id: str
    watcher: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackService:
    """Tells those who wait how an attempt ends."""

    attempts: AttemptService
    now: Callable[[], float] = unix_time
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    new_id: Callable[[], str] = lambda: uuid4().hex[:8]

    def joined(self, session: Session, *, attempt_id: str | None, method: Method) -> Signin:
        """
        Return the attempt that a call is about: *attempt_id*, or the live or last one of *method*.

        Raises:
            NoSigninError: there is no such attempt.
            UnauthorizedError: the token has expired, and was not good at any time while it could have waited for it.
            ForbiddenError: it is another user's.
        """
        signin = self.attempts.signins.find(session.thread_id)
        if self._expired(session) and (signin is None or not self._waited(session, signin, attempt_id)):
            raise UnauthorizedError("The session token is missing, expired or not valid.")
        if signin is None or (attempt_id is None and signin.method != method):
            raise NoSigninError("There is no sign-in to wait for. Please start one.")
        if signin.user_id != session.user_id:
            raise ForbiddenError("This sign-in belongs to somebody else.")
        if signin.status_of(attempt_id or signin.attempt_id, self.now()) is None:
            raise NoSigninError("There is no such sign-in any more.")
        return signin

    def complete(self, signin: Signin, *, code: str, state: str) -> None:
        """
        Hand on what the browser brought back from the provider.

        Raises:
            ForbiddenError: it does not belong to this attempt, or was handed on before.
            OpenCodeError: the sandbox does not take it.
        """
        if signin.method != Method.BROWSER or not self.attempts.signins.spend_state(signin, state):
            raise ForbiddenError("This answer of the provider does not belong to this sign-in.")
        try:
            self.attempts.sandbox.redirect(self.attempts.lend(signin), signin.attempt_id, code=code, state=state)
        except AppError as error:
            self.attempts.end(signin, Status.FAILED)
            raise OpenCodeError("The sandbox did not take the provider's answer. Please start again.") from error

    def wait(
        self, signin: Signin, *, attempt_id: str, watcher: str | None, seconds: float, hops: bool
    ) -> Connected | Pending:
        """
        Return how the attempt ended, or that it goes on after *seconds*.

        *watcher* is the place a call had before its last hop; with *hops* the place is kept for the next one.

        Raises:
            AppError: it ended otherwise than connected.
            RateLimitedError: as many calls as may are waiting for it.
        """
        ended = self._ended(signin, attempt_id)
        if ended is not None:
            return ended
        if seconds <= 0:
            self.attempts.signins.watched(signin)
            return Pending(attempt_id)
        place = self.attempts.signins.take_place(signin, watcher=watcher or f"?-{self.new_id()}", seconds=seconds)
        until = self.monotonic() + seconds
        while True:
            known = self.attempts.signins.find(signin.thread_id)
            ended = self._ended(known, attempt_id)
            if ended is not None:
                return ended
            if place is None and known is not None and known.live(self.now()):
                raise RateLimitedError("Enough calls wait for this sign-in already.", retry_after=BUSY_RETRY_AFTER)
            left = until - self.monotonic()
            if left <= 0:
                break
            self.pause(min(LOOK_EVERY, left))
        if place is not None and not hops:
            self.attempts.signins.leave_place(signin, place)
        return Pending(attempt_id, place)

    def _ended(self, signin: Signin | None, attempt_id: str) -> Connected | None:
        if signin is None:
            raise NoSigninError("There is no such sign-in any more.")
        status = signin.status_of(attempt_id, self.now())
        if status is None:
            raise NoSigninError("There is no such sign-in any more.")
        if status == Status.PENDING:
            return None
        if status != Status.CONNECTED:
            raise error_of(status)
        if signin.attempt_id != attempt_id:
            return Connected(None)
        overdue = self.now() >= (signin.ended_at or 0) + SETTLING
        return Connected(signin.account_id or None) if signin.settled or overdue else None

    def _expired(self, session: Session) -> bool:
        return self.now() > session.exp + CLOCK_SKEW

    def _waited(self, session: Session, signin: Signin, attempt_id: str | None) -> bool:
        """Whether a call with this token can have waited for the attempt since before the token expired."""
        return (
            attempt_id is not None
            and signin.status_of(attempt_id, self.now()) is not None
            and signin.user_id == session.user_id
            and session.exp + CLOCK_SKEW >= signin.created_at
            and self.now() <= signin.expires_at + TOLD_LATE
        )
