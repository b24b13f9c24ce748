"""Passing a call on and its answer back, both as streams: nothing is held back to be complete first."""

from collections.abc import AsyncIterator, Mapping

import httpx
from starlette.requests import Request
from starlette.responses import StreamingResponse

from sandboxd.calls import HEADER

HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade")
)  # fmt: skip
"""Headers that belong to one connection (RFC 9110, 7.6.1)."""
_NOT_PASSED_ON = HOP_BY_HOP | {"host", "authorization", "x-api-key", "cookie", HEADER}
_NOT_PASSED_BACK = HOP_BY_HOP | {"www-authenticate", "set-cookie", "date", "server"}


async def relay(
    client: httpx.AsyncClient, request: Request, url: httpx.URL, *, extra_headers: Mapping[str, str]
) -> tuple[httpx.Response, StreamingResponse]:
    """
    Send *request* to *url* and return the answer as it came, and as what to answer with.

    The caller's credentials stay here; *extra_headers* replace them. Whoever does not send the second one must close
    the first.

    Raises:
        httpx.HTTPError: there was no answer.
    """
    headers = [(name, value) for name, value in request.headers.items() if _passes(name, request, _NOT_PASSED_ON)]
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    upstream = client.build_request(
        request.method,
        url,
        headers=[*headers, *extra_headers.items()],
        content=request.stream() if has_body else None,
    )
    # What httpx adds of its own would make the answer another one than was asked for.
    for name in ("accept-encoding", "accept", "user-agent"):
        if name not in request.headers:
            upstream.headers.pop(name, None)
    answer = await client.send(upstream, stream=True)
    response = StreamingResponse(_body(answer), status_code=answer.status_code)
    secrets = tuple(extra_headers.values())
    response.raw_headers = [
        (name.lower(), value)
        for name, value in answer.headers.raw
        if name.lower().decode("latin-1") not in _NOT_PASSED_BACK
        and not any(secret.encode("latin-1") in value for secret in secrets)
    ]
    return answer, response


def _passes(name: str, request: Request, refused: frozenset[str] | set[str]) -> bool:
    named = request.headers.get("connection", "").lower()
    return name not in refused and not name.startswith("x-opencode-") and name not in named.replace(" ", "").split(",")


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()
