"""The routes of the sign-in."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from sandboxd.contract import AttemptId, Disconnected, Redirect, Signin, SigninBegun, SigninState
from sandboxd.lines import Lines
from sandboxd.sandbox import Sandbox

AttemptPath = Annotated[AttemptId, Path()]


def signin_routes(sandbox: Sandbox) -> APIRouter:
    """Everything under ``/sandboxd`` that is about signing in."""
    router = APIRouter(prefix="/sandboxd")

    @router.post("/signin")
    async def begin(body: Signin) -> SigninBegun:
        """Begin an attempt; repeated, the same answer. Another one is called off."""
        attempt, authorization = await sandbox.signin.begin(body)
        return SigninBegun(
            attempt_id=attempt.id,
            status=attempt.status,
            url=authorization.url,
            instructions=authorization.instructions,
        )

    @router.post("/signin/{attempt_id}/callback", status_code=202)
    async def follow(attempt_id: AttemptPath) -> SigninState:
        """Begin to wait for the approval, in the background; repeated, nothing more."""
        return (await sandbox.signin.follow(attempt_id)).state()

    @router.get("/signin/{attempt_id}", response_class=Lines)
    async def watch(attempt_id: AttemptPath, wait: Annotated[float, Query(ge=0, le=50)] = 0) -> StreamingResponse:
        """
        How the attempt is, as the last line of JSON: once it is not pending any more, or after ``wait`` seconds.

        Before it come heartbeats. A body without such a last line says that sandboxd ended.
        """
        return Lines(sandbox.watch_signin(attempt_id, seconds=wait))

    @router.post("/signin/{attempt_id}/accept")
    async def accept(attempt_id: AttemptPath) -> SigninState:
        """Have OpenCode use what was approved, from the next prompt on; repeated, nothing more."""
        return sandbox.signin.accept(attempt_id).state()

    @router.delete("/signin/{attempt_id}")
    async def cancel(attempt_id: AttemptPath) -> SigninState:
        """Call the attempt off, unless it is over."""
        return sandbox.signin.cancel(attempt_id).state()

    @router.post("/signin/{attempt_id}/redirect")
    async def redirect(attempt_id: AttemptPath, body: Redirect) -> SigninState:
        """Bring OpenCode what the browser came back with."""
        code, state = body.code.get_secret_value(), body.state.get_secret_value()
        return (await sandbox.signin.redirect(attempt_id, code=code, state=state)).state()

    @router.delete("/providers/openai")
    async def disconnect() -> Disconnected:
        """Remove the provider's credentials, for control calls alone; a live attempt is called off."""
        return Disconnected(removed=sandbox.signin.disconnect())

    return router
