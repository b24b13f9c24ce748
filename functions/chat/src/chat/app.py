"""The HTTP routes of chat."""

from typing import Annotated, Any

from fastapi import FastAPI, Header, Query

from chat.deletion import ThreadDeletion
from chat.history import HistoryService
from threadbox import __version__
from threadbox.edge import create_http_app
from threadbox.identifiers import ThreadId
from threadbox.sessions import bearer


def create_app(service: HistoryService, deletion: ThreadDeletion) -> FastAPI:
    """Return the application; importable with an empty environment."""
    app = create_http_app(title="Threadbox chat", version=__version__)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"ok": True, "version": __version__}

    @app.get("/agents/chat/{thread}/get-messages")
    def get_messages(
        thread: ThreadId,
        authorization: Annotated[str | None, Header()] = None,
        token: Annotated[str | None, Query()] = None,
    ) -> list[dict[str, Any]]:
        messages = service.messages(thread, token=token or bearer(authorization))
        return [message.model_dump(exclude_none=True) for message in messages]

    @app.delete("/api/threads/{thread}")
    def delete_thread(thread: ThreadId, authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        return {"ok": True, "removed": deletion.delete(thread, token=bearer(authorization))}

    return app
