"""The HTTP routes of sandbox_ctl."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Response
from pydantic import BaseModel

from sandbox_ctl.models import Offer
from sandbox_ctl.offers import OfferService
from sandbox_ctl.sandboxes import Sandbox, State
from sandbox_ctl.service import SandboxService
from threadbox import __version__
from threadbox.control import Access
from threadbox.edge import create_http_app
from threadbox.identifiers import ThreadId
from threadbox.sessions import SessionVerifier, bearer
from threadbox.threads import ThreadStore


class Status(BaseModel):
    """A sandbox as its user sees it. Times are epoch seconds."""

    state: State
    detail: str | None = None
    generation: int = 0
    requested_at: int | None = None
    started_at: int | None = None
    opencode_version: str | None = None
    reason: str | None = None


def create_app(
    service: SandboxService, offers: OfferService, *, sessions: SessionVerifier, threads: ThreadStore
) -> FastAPI:
    """Return the application; importable with an empty environment."""
    app = create_http_app(title="Threadbox sandbox_ctl", version=__version__)

    def owned(thread: ThreadId, authorization: Annotated[str | None, Header()] = None) -> str:
        session = sessions.verify(bearer(authorization), thread_id=thread)
        threads.claim(thread, user_id=session.user_id)
        return thread

    thread_of_owner = Annotated[str, Depends(owned)]

    @app.get("/api/sandbox/{thread}")
    def get_status(thread: thread_of_owner) -> Status:
        return _status(service.find(thread))

    @app.post("/api/sandbox/{thread}")
    def ensure(thread: thread_of_owner, response: Response) -> Status:
        if not isinstance(service.ensure(thread, scope="turn"), Access):
            response.status_code = HTTPStatus.ACCEPTED
        return _status(service.find(thread))

    @app.delete("/api/sandbox/{thread}")
    def stop(thread: thread_of_owner) -> Status:
        return _status(service.stop(thread))

    @app.get("/api/sandbox/{thread}/models")
    def list_models(thread: thread_of_owner) -> list[Offer]:
        return offers.of_thread(thread)

    return app


def _status(sandbox: Sandbox | None) -> Status:
    if sandbox is None:
        return Status(state=State.STOPPED)
    return Status.model_validate(sandbox.model_dump(include=set(Status.model_fields)))
