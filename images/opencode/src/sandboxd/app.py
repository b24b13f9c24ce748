"""sandboxd's routes, and only those: what they do is in the modules they call."""

from http import HTTPStatus
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sandboxd.activity import CountRequests
from sandboxd.contract import Bind, ExitCode, Policy, Status
from sandboxd.errors import (
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    OpenCodeError,
    SandboxdError,
)
from sandboxd.exec_routes import exec_routes
from sandboxd.file_routes import file_routes
from sandboxd.gate import CallGate
from sandboxd.lines import Lines
from sandboxd.memory_routes import memory_routes
from sandboxd.prompts import CURSOR, Prompt
from sandboxd.relay import relay
from sandboxd.sandbox import Sandbox
from sandboxd.signin_routes import signin_routes
from sandboxd.tokens import Claims, TokenVerifier

SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
PartId = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
CURSOR_HEADER = {
    CURSOR: {
        "description": "The prompt's own events lie behind this number of the event log.",
        "schema": {"type": "integer"},
    }
}
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Health(BaseModel):
    """sandboxd answers."""

    ok: bool = True


class ErrorBody(BaseModel):
    """The body of every error."""

    code: str
    message: str


def create_app(sandbox: Sandbox, verifier: TokenVerifier, *, body_bytes: int) -> FastAPI:
    """The application on the sandbox's address: every route lies behind the gate, what is no route is OpenCode's."""
    app = FastAPI(
        title="sandboxd",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # For the document only: CallGate checks the token before any of this runs.
        dependencies=[Depends(HTTPBearer(auto_error=False, description="a call token", scheme_name="call"))],
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    app.add_middleware(CountRequests, of=sandbox)
    app.add_middleware(CallGate, verifier=verifier, binding=sandbox, body_bytes=body_bytes)
    app.add_exception_handler(SandboxdError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_no_route)
    app.add_exception_handler(Exception, _answer_internal)
    app.include_router(_own_routes(sandbox))
    app.include_router(signin_routes(sandbox))
    app.include_router(exec_routes(sandbox))
    app.include_router(file_routes(sandbox))
    app.include_router(memory_routes(sandbox))

    @app.post("/session/{session_id}/prompt_async", status_code=204, responses={204: {"headers": CURSOR_HEADER}})
    async def prompt(session_id: SessionId, body: Prompt, request: Request) -> Response:
        """OpenCode's own route, held while OpenCode is restarted; names the model where the caller does not."""
        answer = await sandbox.prompts.pass_on(session_id, body, query=request.scope["query_string"])
        cursor = {CURSOR: answer.headers[CURSOR]}
        return Response(answer.content, answer.status_code, cursor, media_type=answer.headers.get("content-type"))

    @app.post("/session/{session_id}/abort")
    async def abort(session_id: SessionId, request: Request, part: PartId | None = None) -> Response:
        """OpenCode's own route. With ``part``, only the prompt that has this part is stopped: true, if it was."""
        if part is None:
            return await _ask_opencode(sandbox, request)
        return JSONResponse(await sandbox.prompts.abort(session_id, part))

    @app.get("/config/providers")
    async def providers(request: Request, wait: Annotated[float, Query(ge=0, le=10)] = 0) -> Response:
        """
        OpenCode's own route. With ``wait``, once OpenCode knows of the credentials in use, or that many seconds have
        passed: just after a sign-in it lists what there was before.
        """
        await sandbox.connection.wait_known(wait)
        return await _ask_opencode(sandbox, request, query=b"")

    @app.api_route("/{path:path}", methods=ALL_METHODS, include_in_schema=False)
    async def pass_on(path: str, request: Request) -> Response:
        if path.split("/", maxsplit=1)[0] == "sandboxd":
            raise NotFoundError
        return await _ask_opencode(sandbox, request)

    return app


def _own_routes(sandbox: Sandbox) -> APIRouter:
    router = APIRouter(prefix="/sandboxd")

    @router.get("/hello")
    async def hello() -> Status:
        """Who answers here, before anything is entrusted to it."""
        return sandbox.status()

    @router.get("/status")
    async def status(wait: Annotated[float, Query(ge=0, le=10)] = 0) -> Status:
        """How far the sandbox is; with ``wait``, answers once it is done booting or that many seconds have passed."""
        await sandbox.wait_booted(wait)
        return sandbox.status()

    @router.get("/health")
    async def health() -> Health:
        """Sandboxd itself answers; says nothing of OpenCode."""
        return Health()

    @router.post("/bind")
    async def bind(body: Bind, request: Request) -> Status:
        """Serve this thread, for good. Boots OpenCode in the background."""
        claims: Claims = request.state.claims
        if (claims.thread, claims.gen) != (body.thread_id, body.generation):
            raise ForbiddenError
        sandbox.bind(body)
        return sandbox.status()

    @router.put("/tool-policy")
    async def configure(body: Policy) -> Policy:
        """
        Have this policy before the next prompt, if its version is newer; for control calls alone.

        OpenCode is started anew for it as soon as it is idle, which calls off a sign-in that waits for its approval.
        """
        return sandbox.policy.put(body)

    @router.post("/session")
    async def begin_anew() -> Status:
        """Forget the conversation: the thread's session is deleted, and another one takes its place."""
        await sandbox.begin_anew()
        return sandbox.status()

    @router.post("/stop", status_code=202)
    async def stop() -> Status:
        """End OpenCode and sandboxd."""
        sandbox.end(ExitCode.OK)
        return sandbox.status()

    @router.get("/events", response_class=Lines)
    async def events(
        after: Annotated[int | None, Query(ge=0, lt=2**63)] = None, generation: int | None = None
    ) -> StreamingResponse:
        """OpenCode's events after number ``after`` (omitted: from now on) as lines of JSON, without end."""
        return Lines(sandbox.events(after=after, generation=generation))

    return router


async def _ask_opencode(sandbox: Sandbox, request: Request, *, query: bytes | None = None) -> Response:
    opencode = await sandbox.opencode()
    raw_path: bytes = request.scope["raw_path"]
    query = request.scope["query_string"] if query is None else query
    url = opencode.client.base_url.copy_with(raw_path=raw_path + (b"?" + query if query else b""))
    try:
        answer, response = await relay(
            opencode.client, request, url, extra_headers={"authorization": opencode.authorization}
        )
    except httpx.HTTPError as exc:
        raise OpenCodeError from exc
    # OpenCode answers unknown routes with its web page, status 200.
    if answer.headers.get("content-type", "").startswith("text/html"):
        await answer.aclose()
        raise NotFoundError
    return response


async def _answer_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SandboxdError)  # noqa: S101 - registered for this class only
    return JSONResponse(error.body(), error.status)


async def _answer_invalid(_: Request, error: Exception) -> Response:
    """Names the fields, never their content (to which the names inside a map belong): there may be a key in it."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    fields = sorted({".".join(str(part) for part in item["loc"][:2]) for item in error.errors()})
    refusal = InvalidRequestError(f"malformed: {', '.join(fields)}")
    return JSONResponse(refusal.body(), refusal.status)


async def _answer_no_route(_: Request, error: Exception) -> Response:
    """What the framework itself refuses: an unknown method, or a body that it cannot read (nested too deeply)."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    unreadable = error.status_code == HTTPStatus.BAD_REQUEST
    refusal = InvalidRequestError() if unreadable else NotFoundError()
    return JSONResponse(refusal.body(), refusal.status)


async def _answer_internal(_: Request, _error: Exception) -> Response:
    """A fault of ours: nothing of its cause leaks, the server logs it."""
    failure = SandboxdError()
    return JSONResponse(failure.body(), failure.status)
