"""The routes of the sign-in."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from sandboxd.contract import (
    Accept,
    Access,
    AttemptId,
    Connected,
    Disconnected,
    Redirect,
    Signin,
    SigninBegun,
    SigninState,
    Tokens,
)
from sandboxd.lines import Lines
from sandboxd.sandbox import Sandbox

AttemptPath = Annotated[AttemptId, Path()]


def signin_routes(sandbox: Sandbox) -> APIRouter:
    """Everything under ``/sandboxd`` that is about signing in, and what came of it."""
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

    @router.get("/signin/{attempt_id}/tokens")
    async def tokens(attempt_id: AttemptPath, response: Response) -> Tokens:
        """What was approved, as often as asked, until it is accepted or the attempt ends."""
        grant = sandbox.signin.tokens(attempt_id)
        response.headers["cache-control"] = "no-store"
        return Tokens(
            access_token=grant.access,
            refresh_token=grant.refresh,
            expires_at=grant.expires // 1000,
            account_id=grant.account_id,
        )

    @router.post("/signin/{attempt_id}/accept")
    async def accept(attempt_id: AttemptPath, body: Accept) -> SigninState:
        """
        Have OpenCode use the access token that was approved, from the next prompt on; repeated, nothing more.

        The refresh token is forgotten.
        """
        return sandbox.signin.accept(attempt_id, body.version).state()

    @router.delete("/signin/{attempt_id}")
    async def cancel(attempt_id: AttemptPath) -> SigninState:
        """Call the attempt off, unless it is over."""
        return sandbox.signin.cancel(attempt_id).state()

    @router.post("/signin/{attempt_id}/redirect")
    async def redirect(attempt_id: AttemptPath, body: Redirect) -> SigninState:
        """Bring OpenCode what the browser came back with."""
        code, state = body.code.get_secret_value(), body.state.get_secret_value()
        return (await sandbox.signin.redirect(attempt_id, code=code, state=state)).state()

    @router.put("/providers/openai")
    async def lend(body: Access) -> Connected:
        """Use this access token from the next model request on, if its version is newer; for control calls alone."""
        return Connected(version=sandbox.connection.put(body.entry(), body.version))

    @router.delete("/providers/openai")
    async def disconnect(version: Annotated[int | None, Query(ge=1, lt=2**53)] = None) -> Disconnected:
        """
        Remove the provider's credentials, for control calls alone; a live attempt is called off.

        None that is not newer than ``version`` (omitted: than what was removed) is taken again.
        """
        return Disconnected(removed=sandbox.signin.disconnect(version))

    return router
