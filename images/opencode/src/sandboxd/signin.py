"""
Signing in with ChatGPT: one attempt at a time, each with a deadline.

What an attempt leaves running inside OpenCode (its endless poll for an approval, or its listener) is really ended
before the next may begin: by a restart, when OpenCode is idle. What it writes too late is undone like any other
change of auth.json.
"""

import asyncio
import logging

import httpx
from pydantic import ValidationError

from sandboxd import codex
from sandboxd.attempt import Attempt
from sandboxd.codex import Authorization, CallbackEnd, Grant, Method
from sandboxd.connection import Connection
from sandboxd.contract import Signin, SigninStatus
from sandboxd.credentials import Credentials
from sandboxd.errors import (
    ConflictError,
    MethodUnavailableError,
    NoSigninError,
    ProviderSilentError,
    SandboxdError,
    SigninEndingError,
)
from sandboxd.maintenance import Maintenance
from sandboxd.supervisor import Supervisor
from sandboxd.tasks import Tasks

logger = logging.getLogger(__name__)

ACCEPT_SECONDS = 60
"""How long what was approved waits to be accepted, at least."""


class SignIn:
    """The current attempt; the last one, when it has ended."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        maintenance: Maintenance,
        credentials: Credentials,
        connection: Connection,
        tasks: Tasks,
        wait_seconds: float,
        authorize_seconds: float,
        shared_network: bool,
    ) -> None:
        self._supervisor = supervisor
        self._maintenance = maintenance
        self._credentials = credentials
        self._connection = connection
        self._tasks = tasks
        self._wait_seconds = wait_seconds
        self._authorize_seconds = authorize_seconds
        self._shared_network = shared_network
        self._attempt: Attempt | None = None

    @property
    def live(self) -> bool:
        """Whether an attempt is under way."""
        return self._attempt is not None and self._attempt.live

    def find(self, attempt_id: str) -> Attempt:
        """
        Return the attempt of this id.

        Raises:
            NoSigninError: it is not the current one.
        """
        if self._attempt is None or self._attempt.id != attempt_id:
            raise NoSigninError
        return self._attempt

    async def begin(self, request: Signin) -> tuple[Attempt, Authorization]:
        """
        Begin the attempt, or return it if it began already; calls the provider once. Another one is cancelled.

        Raises:
            MethodUnavailableError: the method needs a network of its own.
            SigninEndingError: something of an earlier attempt is still being ended.
            ProviderUnreachableError: the provider gives no code.
            OpenCodeError: OpenCode gives no usable answer.
        """
        attempt = self._attempt
        if attempt is None or attempt.id != request.attempt_id:
            attempt = self._replace(attempt, request)
        return attempt, await asyncio.shield(attempt.authorization)

    async def follow(self, attempt_id: str) -> Attempt:
        """
        Begin to wait for the approval, once.

        Raises:
            NoSigninError: it is not the current attempt.
        """
        attempt = self.find(attempt_id)
        await asyncio.shield(attempt.authorization)
        opencode = await self._supervisor.opencode(self._wait_seconds)
        if attempt.status is SigninStatus.PENDING and attempt.poll is None:
            attempt.poll = self._tasks.spawn(self._poll(attempt, opencode.client))
        return attempt

    def tokens(self, attempt_id: str) -> Grant:
        """
        Return what was approved.

        Raises:
            NoSigninError: it is not the current attempt.
            ConflictError: it is not approved, or was accepted already.
        """
        attempt = self.find(attempt_id)
        if attempt.grant is None:
            raise ConflictError(f"the attempt is {attempt.status}")
        return attempt.grant

    def accept(self, attempt_id: str, version: int) -> Attempt:
        """
        Forget what was approved but its access token: OpenCode uses that from the next prompt on.

        Raises:
            NoSigninError: it is not the current attempt.
            ConflictError: it is not approved, or that version was removed.
            OpenCodeError: auth.json cannot be written.
        """
        attempt = self.find(attempt_id)
        if attempt.grant is not None:
            if self._connection.put(attempt.grant.borrowed(), version) is None:
                raise ConflictError("credentials of that version were removed")
            attempt.end(SigninStatus.ACCEPTED)
        if attempt.status is not SigninStatus.ACCEPTED:
            raise ConflictError(f"the attempt is {attempt.status}")
        return attempt

    def cancel(self, attempt_id: str) -> Attempt:
        """
        Call the attempt off, if it is not over.

        Raises:
            NoSigninError: it is not the current attempt.
        """
        attempt = self.find(attempt_id)
        if attempt.live:
            self._end(attempt, SigninStatus.CANCELLED)
        return attempt

    async def redirect(self, attempt_id: str, *, code: str, state: str) -> Attempt:
        """
        Bring OpenCode what the browser came back with.

        Raises:
            NoSigninError: it is not the current attempt.
            ConflictError: the attempt waits for no redirect.
            OpenCodeError: OpenCode refused it.
        """
        attempt = self.find(attempt_id)
        if attempt.status is not SigninStatus.PENDING or attempt.method is not Method.BROWSER:
            raise ConflictError("the attempt waits for no redirect")
        await codex.relay_redirect(code, state)
        return attempt

    def disconnect(self, version: int | None) -> bool:
        """
        Remove the provider's credentials, take none that are not newer than *version*, call a live attempt off.

        Return whether there were any.

        Raises:
            OpenCodeError: auth.json cannot be written.
        """
        attempt = self._attempt
        if attempt is not None and attempt.live:
            self._end(attempt, SigninStatus.CANCELLED)
        return self._connection.remove(version)

    def call_off(self) -> None:
        """Call the attempt off if it needs OpenCode to go on as it is."""
        attempt = self._attempt
        if attempt is not None and attempt.live and attempt.at_work:
            self._end(attempt, SigninStatus.CANCELLED)

    def close(self) -> None:
        """End the streams of whoever watches."""
        if self._attempt is not None:
            self._attempt.close()

    def _replace(self, earlier: Attempt | None, request: Signin) -> Attempt:
        """Nothing is waited for in here, so that of many callers one begins the attempt and the others find it."""
        if request.method is Method.BROWSER and self._shared_network:
            raise MethodUnavailableError
        if earlier is not None and earlier.live:
            self._end(earlier, SigninStatus.CANCELLED)
        if self._maintenance.wanted:
            raise SigninEndingError
        attempt = Attempt(request.attempt_id, request.method, seconds=request.seconds)
        self._attempt = attempt
        self._tasks.spawn(self._authorize(attempt))
        self._tasks.spawn(self._keep_deadline(attempt))
        return attempt

    async def _authorize(self, attempt: Attempt) -> None:
        try:
            opencode = await self._supervisor.opencode(self._wait_seconds)
            authorization = await codex.authorize(opencode.client, attempt.method, seconds=self._authorize_seconds)
            attempt.authorization.set_result(authorization)
        except SandboxdError as exc:
            attempt.unanswered = isinstance(exc, ProviderSilentError)
            attempt.authorization.set_exception(exc)
            if attempt.live:
                self._end(attempt, SigninStatus.FAILED)
            # It never began: who repeats the call gets another try.
            if self._attempt is attempt:
                self._attempt = None

    async def _keep_deadline(self, attempt: Attempt) -> None:
        await attempt.wait_over()
        if attempt.live:
            self._end(attempt, SigninStatus.TIMED_OUT)

    async def _poll(self, attempt: Attempt, client: httpx.AsyncClient) -> None:
        approved = None
        with self._credentials.awaiting_approval(lambda: attempt.live):
            end = await codex.callback(client, attempt.method)
            if end is CallbackEnd.APPROVED:
                approved = await self._credentials.read_approved()
        if not attempt.live:
            logger.info("a wait for approval ended that nobody wants any more: %s", end.name)
        elif end is CallbackEnd.APPROVED:
            try:
                grant = Grant.model_validate(approved)
            except ValidationError:
                attempt.end(SigninStatus.FAILED)
            else:
                attempt.approve(grant, seconds=ACCEPT_SECONDS)
        else:
            attempt.end(SigninStatus.DENIED if end is CallbackEnd.DENIED else SigninStatus.FAILED)

    def _end(self, attempt: Attempt, status: SigninStatus) -> None:
        attempt.end(status)
        logger.info("sign-in %s", status)
        if attempt.at_work:
            self._maintenance.want(self._end_work, needless=lambda: not attempt.at_work)

    async def _end_work(self) -> None:
        await self._supervisor.restart("sign-in ended", between=self._credentials.restore)
