"""The HTTP routes of sandbox_ctl."""

from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field

from sandbox_ctl.models import Offer
from sandbox_ctl.offers import OfferService
from sandbox_ctl.service import SandboxService
from sandbox_ctl.status import Status
from sandbox_ctl.workspace_routes import WorkspaceServices, exec_routes, file_routes
from threadbox import __version__
from threadbox.audit import AuditTrail, Recorder
from threadbox.control import Access
from threadbox.edge import BearerToken, create_http_app
from threadbox.identifiers import ThreadId
from threadbox.sessions import SessionVerifier
from threadbox.threads import ThreadStore


class Wanted(BaseModel):
    """What a sandbox is to be like that is begun by this; one that runs stays as it is."""

    model_config = ConfigDict(extra="forbid")

    size: str | None = Field(default=None, max_length=64, description="a name of those in the template's SandboxSizes")


def create_app(
    service: SandboxService,
    offers: OfferService,
    workspace: WorkspaceServices,
    *,
    sessions: SessionVerifier,
    threads: ThreadStore,
    audit: AuditTrail,
) -> FastAPI:
    """Return the application; importable with an empty environment."""
    app = create_http_app(title="Threadbox sandbox_ctl", version=__version__)

    def owner(thread: ThreadId, token: BearerToken) -> str:
        session = sessions.verify(token, thread_id=thread)
        threads.claim(thread, user_id=session.user_id)
        return session.user_id

    def owned(thread: ThreadId, _owner: Annotated[str, Depends(owner)]) -> str:
        return thread

    def recorder(thread: ThreadId, user_id: Annotated[str, Depends(owner)]) -> Recorder:
        return partial(audit.record, thread_id=thread, user_id=user_id)

    thread_of_owner = Annotated[str, Depends(owned)]

    @app.get("/api/sandbox/{thread}")
    def get_status(thread: thread_of_owner) -> Status:
        return service.status(thread)

    @app.post("/api/sandbox/{thread}", responses={HTTPStatus.ACCEPTED.value: {"model": Status}})
    def ensure(thread: thread_of_owner, response: Response, wanted: Wanted | None = None) -> Status:
        if not isinstance(service.ensure(thread, scope="turn", size=wanted.size if wanted else None), Access):
            response.status_code = HTTPStatus.ACCEPTED
        return service.status(thread)

    @app.delete("/api/sandbox/{thread}")
    def stop(thread: thread_of_owner, record: Annotated[Recorder, Depends(recorder)]) -> Status:
        record("sandbox_stopped")
        service.stop(thread)
        return service.status(thread)

    @app.get("/api/sandbox/{thread}/models")
    def list_models(thread: thread_of_owner) -> list[Offer]:
        return offers.of_thread(thread)

    app.include_router(exec_routes(workspace, owned, recorder))
    app.include_router(file_routes(workspace, owned))
    return app
