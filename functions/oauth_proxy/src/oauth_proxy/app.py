"""The HTTP routes of oauth_proxy."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, Request, Response

from oauth_proxy.attempts import AttemptService
from oauth_proxy.authorize import AuthorizeService
from oauth_proxy.callbacks import CallbackService, Connected
from oauth_proxy.contract import (
    Attempt,
    Authorization,
    AuthorizeBody,
    AuthorizeQuery,
    CallbackBody,
    CallbackQuery,
    Connection,
    Disconnection,
    ProviderQuery,
)
from oauth_proxy.hops import MOST_HOPS, RETRY_AFTER, go_on
from oauth_proxy.openai import PROVIDER
from threadbox import __version__
from threadbox.control import Starting
from threadbox.edge import BearerToken, create_http_app
from threadbox.errors import NotFoundError, SandboxUnavailableError, SigninPendingError, UnauthorizedError
from threadbox.identifiers import ThreadId
from threadbox.preferences import Preferences
from threadbox.sessions import Session, SessionVerifier
from threadbox.threads import ThreadStore

PREFIX = f"/api/sandbox/{{thread}}/opencode/provider/{PROVIDER}"
STARTING = SandboxUnavailableError("The sandbox is still starting.", retry_after=RETRY_AFTER)
PENDING = SigninPendingError("The sign-in goes on. Call again to wait for it.", retry_after=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who may call, for which thread: seen before anything else happens."""

    sessions: SessionVerifier
    threads: ThreadStore

    def owner(self, thread: ThreadId, token: BearerToken) -> Session:
        """Return the session of the thread's owner."""
        session = self.sessions.verify(token, thread_id=thread)
        self.threads.claim(thread, user_id=session.user_id)
        return session

    def waiter(self, thread: ThreadId, query: CallbackQuery, token: BearerToken) -> Session:
        """As :meth:`owner`; on a hop also the session of a token that expired, which is good for its attempt only."""
        try:
            return self.owner(thread, token)
        except UnauthorizedError:
            if not query.hop:
                raise
        return self.sessions.verify(token, thread_id=thread, even_expired=True)


def create_app(
    authorizations: AuthorizeService,
    callbacks: CallbackService,
    attempts: AttemptService,
    *,
    admission: Admission,
    hop_seconds: float,
    web_app_url: str,
) -> FastAPI:
    """Return the application; importable with an empty environment."""
    app = create_http_app(title="Threadbox oauth_proxy", version=__version__)

    owner = Annotated[Session, Depends(admission.owner)]
    waiter = Annotated[Session, Depends(admission.waiter)]

    @app.post(f"{PREFIX}/oauth/authorize", response_model=Authorization)
    def authorize(
        session: owner, body: AuthorizeBody, query: AuthorizeQuery, request: Request
    ) -> Authorization | Response:
        prefer = _preferences(request)
        answer = authorizations.authorize(
            session,
            method=body.method,
            replace=body.replace,
            seconds=prefer.seconds(hop_seconds),
            waiting_for=query.start,
        )
        if isinstance(answer, Starting):
            told = {"status": "starting", **answer.model_dump()}
            return go_on(prefer, hop=query.hop, query={"start": answer.generation}, told=told, late=STARTING)
        return Authorization.of(answer)

    @app.post(f"{PREFIX}/oauth/callback", response_model=Connection)
    def callback(session: waiter, body: CallbackBody, query: CallbackQuery, request: Request) -> Connection | Response:
        prefer = _preferences(request)
        signin = callbacks.joined(session, attempt_id=query.attempt, method=body.method)
        # A redirect repeats the body; the provider's answer is good for the first time only.
        if query.hop == 0 and body.code is not None and body.state is not None:
            callbacks.complete(signin, code=body.code, state=body.state)
        attempt_id = query.attempt or signin.attempt_id
        answer = callbacks.wait(
            signin,
            attempt_id=attempt_id,
            watcher=query.watcher,
            seconds=prefer.seconds(hop_seconds),
            hops=not prefer.any and query.hop < MOST_HOPS,
        )
        if isinstance(answer, Connected):
            return Connection(provider=PROVIDER, account_id=answer.account_id)
        again: dict[str, str | int | None] = {"attempt": attempt_id, "watcher": answer.watcher}
        told = {"status": "pending", "attempt_id": attempt_id}
        return go_on(prefer, hop=query.hop, query=again, told=told, late=PENDING)

    @app.get(f"{PREFIX}/oauth/attempt")
    def get_attempt(session: owner) -> Attempt:
        return Attempt.of(attempts.look(session.thread_id), now=attempts.now())

    @app.delete(f"{PREFIX}/oauth/attempt")
    def cancel_attempt(session: owner) -> Attempt:
        return Attempt.of(attempts.cancel(session.thread_id), now=attempts.now())

    @app.delete(PREFIX)
    def disconnect(session: owner) -> Disconnection:
        return Disconnection(removed=attempts.disconnect(session.thread_id, user_id=session.user_id))

    app.include_router(_redirect_route(web_app_url))
    return app


def _redirect_route(web_app_url: str) -> APIRouter:
    router = APIRouter()

    @router.get("/api/sandbox/opencode-oauth/redirect", status_code=HTTPStatus.FOUND)
    def redirect(query: ProviderQuery) -> Response:
        """Send the browser to the web app, whose user's token completes the sign-in; nothing is changed here."""
        if not web_app_url:
            raise NotFoundError("There is no web app to go to.")
        joint = "&" if "?" in web_app_url else "?"
        headers = {
            "Location": f"{web_app_url}{joint}{urlencode(query.model_dump(exclude_none=True))}",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        }
        return Response(status_code=HTTPStatus.FOUND, headers=headers)

    return router


def _preferences(request: Request) -> Preferences:
    return Preferences.parse(", ".join(request.headers.getlist("prefer")))
