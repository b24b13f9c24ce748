"""How an answer fails when it was asked to, whatever API it is given in."""

from collections.abc import AsyncIterator
from http import HTTPStatus

from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Send

from local.demo.answers import Failure

EVENTS_BEFORE_CUT = 4

RETRY = {"retry-after-ms": "200"}
"""Whoever tries again may do so soon: left to itself OpenCode takes more than a minute to give up."""
REFUSALS = {
    "401": (HTTPStatus.UNAUTHORIZED, "Incorrect API key provided.", "invalid_api_key", {}),
    "429": (HTTPStatus.TOO_MANY_REQUESTS, "Rate limit reached.", "rate_limit_exceeded", RETRY),
    "500": (HTTPStatus.INTERNAL_SERVER_ERROR, "The server had an error.", "server_error", RETRY),
}


class CutResponse(StreamingResponse):
    """A stream that breaks off: the server closes the connection of an answer that has no end."""

    async def stream_response(self, send: Send) -> None:
        """Send all there is, but not that it is all."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            await send({"type": "http.response.body", "body": str(chunk).encode(), "more_body": True})


async def until_cut(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """The beginning of *events*."""
    left = EVENTS_BEFORE_CUT
    async for event in events:
        yield event
        left -= 1
        if not left:
            return


def fail(failure: Failure, events: AsyncIterator[str]) -> Response:
    """That failure, of an answer that would have been *events*."""
    if failure in REFUSALS:
        status, message, code, headers = REFUSALS[failure]
        return JSONResponse({"error": {"message": message, "type": code, "code": code}}, status, headers)
    if failure == "html":
        return HTMLResponse("<!doctype html><title>Welcome</title><p>This is no model.")
    if failure == "cut":
        return CutResponse(until_cut(events), media_type="text/event-stream")
    return Response("data: {not json\n\ndata: nor this\n\n", media_type="text/event-stream")
