"""The HTTP routes of chat."""

from typing import Annotated

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from chat.deletion import ThreadDeletion
from chat.history import HistoryService
from chat.messages import UIMessage
from threadbox import __version__
from threadbox.edge import BearerToken, create_http_app
from threadbox.identifiers import ThreadId


class Health(BaseModel):
    """The functions answer."""

    ok: bool = True
    version: str = __version__


class Deletion(BaseModel):
    """A thread's end."""

    ok: bool = True
    removed: dict[str, int] = Field(description="how many of each kind of thing there were")


def create_app(service: HistoryService, deletion: ThreadDeletion) -> FastAPI:
    """Return the application; importable with an empty environment."""
    app = create_http_app(title="Threadbox chat", version=__version__)

    @app.get("/health")
    def health() -> Health:
        return Health()

    @app.get("/agents/chat/{thread}/get-messages", response_model_exclude_none=True)
    def get_messages(
        thread: ThreadId, bearer: BearerToken, token: Annotated[str | None, Query()] = None
    ) -> list[UIMessage]:
        return service.messages(thread, token=token or bearer)

    @app.delete("/api/threads/{thread}")
    def delete_thread(thread: ThreadId, bearer: BearerToken) -> Deletion:
        return Deletion(removed=deletion.delete(thread, token=bearer))

    return app
