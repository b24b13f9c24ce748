"""The HTTP routes of chat."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Query, Response
from pydantic import BaseModel, Field

from chat.deletion import ThreadDeletion
from chat.history import HistoryService
from chat.messages import UIMessage
from chat.tool_policy import ToolPolicyService
from threadbox import __version__
from threadbox.edge import BearerToken, create_http_app
from threadbox.identifiers import ThreadId
from threadbox.policies import ToolPolicy


class Health(BaseModel):
    """The functions answer."""

    ok: bool = True
    version: str = __version__


class Deletion(BaseModel):
    """A thread's end."""

    ok: bool = True
    removed: dict[str, int] = Field(description="how many of each kind of thing there were")


class ToolPolicyBody(BaseModel):
    """What the thread's user lets the agent do, from its next turn on."""

    policy: ToolPolicy


JSON_LINES = "application/jsonl"
Before = Annotated[str | None, Query(max_length=128, description="the id of a user's message: what is older than it")]
After = Annotated[str | None, Query(max_length=140, description="a place in the export: what follows it")]
_MORE = {"Link": {"schema": {"type": "string"}, "description": "rel=next: what did not fit in here"}}
LINKED: dict[int | str, dict[str, Any]] = {200: {"headers": _MORE}}
EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {"headers": _MORE, "content": {JSON_LINES: {"schema": {"type": "string"}}}, "description": "JSON lines"}
}


def create_app(service: HistoryService, deletion: ThreadDeletion, policies: ToolPolicyService) -> FastAPI:
    """Return the application; importable with an empty environment."""
    app = create_http_app(title="Threadbox chat", version=__version__)

    @app.get("/health")
    def health() -> Health:
        return Health()

    @app.get("/agents/chat/{thread}/get-messages", response_model=list[UIMessage], responses=LINKED)
    def get_messages(
        thread: ThreadId, bearer: BearerToken, token: Annotated[str | None, Query()] = None, before: Before = None
    ) -> Response:
        page = service.messages(thread, token=token or bearer, before=before)
        # Stored as JSON, and passed on as it is: a long history is not to be read and written again.
        return Response(page.body, media_type="application/json", headers=_link("before", page.before))

    @app.get("/agents/chat/{thread}/export", response_class=Response, responses=EXPORTED)
    def export(thread: ThreadId, bearer: BearerToken, after: After = None) -> Response:
        lines = service.export(thread, token=bearer, after=after)
        return Response(lines.body, media_type=JSON_LINES, headers=_link("after", lines.after))

    @app.get("/agents/chat/{thread}/tool-policy")
    def get_tool_policy(thread: ThreadId, bearer: BearerToken) -> ToolPolicyBody:
        return ToolPolicyBody(policy=policies.get(thread, token=bearer))

    @app.post("/agents/chat/{thread}/tool-policy")
    def post_tool_policy(thread: ThreadId, body: ToolPolicyBody, bearer: BearerToken) -> ToolPolicyBody:
        return ToolPolicyBody(policy=policies.put(thread, body.policy, token=bearer))

    @app.delete("/api/threads/{thread}")
    def delete_thread(thread: ThreadId, bearer: BearerToken) -> Deletion:
        return Deletion(removed=deletion.delete(thread, token=bearer))

    return app


def _link(parameter: str, place: str | None) -> dict[str, str]:
    """Return the header that leads to what did not fit (RFC 8288); the address is relative to the request's."""
    return {} if place is None else {"Link": f'<?{parameter}={quote(place, safe="")}>; rel="next"'}
