"""
A sign-in whose end a test decides, behind the real routes: what the real provider and sandbox cannot be made to do
on command.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from starlette.websockets import WebSocket

from oauth_proxy.app import create_app
from oauth_proxy.callbacks import Connected, Pending
from oauth_proxy.openai import Method
from oauth_proxy.outcomes import error_of
from oauth_proxy.signin import Signin, Status
from threadbox.control import Starting
from threadbox.errors import AppError, ForbiddenError, NoSigninError
from threadbox.notices import Notices
from threadbox.sessions import Session

URLS = {
    Method.BROWSER: "https://provider.example/oauth/authorize?response_type=code&state=the-state",
    Method.DEVICE: "https://provider.example/codex/device",
}
INSTRUCTIONS = {Method.BROWSER: "Complete authorization in your browser.", Method.DEVICE: "Enter code: WXYZ-12345"}


class Anybody:
    """Takes every token for the user's."""

    def owner(self, thread: str) -> Session:
        return Session(thread_id=thread, user_id="user", iat=0, exp=0)

    waiter = owner


@dataclass
class FakeCodex:
    """The last sign-in, and what has been asked. What stands in ``refusals`` is raised first, one for each begin."""

    refusals: list[AppError] = field(default_factory=list)
    starts: int = 0
    """How many begins find a sandbox that is still starting."""
    seconds: int = 900
    instructions: str | None = None
    begun: list[tuple[int, bool]] = field(default_factory=list)
    answers: list[tuple[str, str]] = field(default_factory=list)
    signin: Signin | None = None
    account_id: str | None = None
    reconnect_required: bool = False
    sockets: set[WebSocket] = field(default_factory=set)
    loop: asyncio.AbstractEventLoop | None = None

    def app(self) -> FastAPI:
        """The real application, on top of this."""
        service: Any = self
        return create_app(service, service, service, admission=Anybody(), hop_seconds=1, web_app_url="")  # type: ignore[arg-type]

    @property
    def status(self) -> dict[str, object]:
        """The connection, as a sandbox's status tells of it."""
        return {
            "connected": self.account_id is not None and not self.reconnect_required,
            "account_id": self.account_id,
            "expires_at": int(time.time()) + 3600 if self.account_id else None,
            "reconnect_required": self.reconnect_required,
        }

    def met(self, socket: WebSocket) -> None:
        """Have what is told sent to this socket, too."""
        self.loop = asyncio.get_running_loop()
        self.sockets.add(socket)

    def end(self, status: str, *, told: bool = True) -> None:
        """End the sign-in; with *told* every socket hears of it."""
        assert self.signin is not None
        if status == "connected":
            self.connect()
        update = {"status": Status(status), "account_id": self.account_id, "settled": True}
        self.signin = self.signin.model_copy(update=update)
        if told:
            account = {"account_id": self.account_id} if status == "connected" and self.account_id else {}
            self.tell(status, attempt_id=self.signin.attempt_id, **account)

    def connect(self) -> None:
        """Have the thread connected."""
        self.account_id, self.reconnect_required = "account-of-a-user", False

    def lapse(self, *, told: bool = True) -> None:
        """Have the provider end what the thread has; with *told* every socket hears of it."""
        self.reconnect_required = True
        if told:
            self.tell("reconnect_required")

    def tell(self, status: str, **data: str) -> None:
        """Say it to every socket, as the real function does."""
        Notices(broadcast=self).codex("", status, **data)  # type: ignore[arg-type]

    def post(self, _: str, text: str) -> int:
        """Send a frame to every socket, from any thread; return how many took it."""

        async def send() -> int:
            for socket in self.sockets:
                await socket.send_text(text)
            return len(self.sockets)

        return asyncio.run_coroutine_threadsafe(send(), self.loop).result(10) if self.loop else 0

    def drop(self) -> None:
        """Cut every connection."""

        async def close() -> None:
            for socket in tuple(self.sockets):
                await socket.close()

        assert self.loop is not None
        asyncio.run_coroutine_threadsafe(close(), self.loop).result(10)

    def authorize(
        self, session: Session, *, method: Method, replace: bool, seconds: float, waiting_for: int | None
    ) -> Signin | Starting:
        """As AuthorizeService."""
        self.begun.append((method, replace))
        if self.refusals:
            raise self.refusals.pop(0)
        if self.starts > 0:
            self.starts -= 1
            return Starting(state="starting", detail="booting", generation=1)
        now = int(time.time())
        self.signin = Signin(
            thread_id=session.thread_id, attempt_id=f"attempt-{len(self.begun)}", user_id=session.user_id,
            method=method, replace=replace, created_at=now, watched_at=now, expires_at=now + self.seconds,
            generation=1, url=URLS[method], instructions=self.instructions or INSTRUCTIONS[method],
        )  # fmt: skip
        return self.signin

    def joined(self, session: Session, *, attempt_id: str | None, method: Method) -> Signin:
        """As CallbackService."""
        return self.look(session.thread_id)

    def complete(self, signin: Signin, *, code: str, state: str) -> None:
        """As CallbackService."""
        if state != "the-state":
            raise ForbiddenError("This answer of the provider does not belong to this sign-in.")
        self.answers.append((code, state))

    def wait(self, signin: Signin, **_: object) -> Connected | Pending:
        """As CallbackService."""
        if signin.status == Status.PENDING:
            return Pending(signin.attempt_id)
        if signin.status == Status.CONNECTED:
            return Connected(signin.account_id)
        raise error_of(signin.status)

    def now(self) -> float:
        """As AttemptService."""
        return time.time()

    def look(self, _: str) -> Signin:
        """As AttemptService."""
        if self.signin is None:
            raise NoSigninError("There is no sign-in.")
        return self.signin

    def cancel(self, thread_id: str) -> Signin:
        """As AttemptService."""
        if self.look(thread_id).status == Status.PENDING:
            self.signin = self.look(thread_id).model_copy(update={"status": Status.CANCELLED})
        return self.look(thread_id)

    def disconnect(self, _: str, *, user_id: str) -> bool:
        """As AttemptService."""
        removed, self.account_id, self.reconnect_required = self.account_id is not None, None, False
        return removed
