"""
The way out to the models: a listener on loopback that holds the API keys, so that OpenCode need not.

A warm-up prompt, known by what it says, it answers itself, with one word. Until it is opened nothing else is answered.
"""

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from sandboxd.providers import WARM_UP, Upstream
from sandboxd.relay import relay

TIMEOUT = httpx.Timeout(10, read=600)
ERROR_BYTES = 64 * 1024


class ModelProxy:
    """Puts a provider's key in place of what OpenCode sends, and streams both ways."""

    def __init__(self, *, port: int, client: httpx.AsyncClient) -> None:
        self._client = client
        self._upstreams: Mapping[str, Upstream] = {}
        self._warm_ups: set[str] = set()
        # Other users of the machine reach a loopback port too (a laptop has no container around it).
        self._path_key = secrets.token_urlsafe(32)
        self._root = f"http://127.0.0.1:{port}/{self._path_key}"

    def base_url(self, provider: str) -> str:
        """Where OpenCode finds *provider*."""
        return f"{self._root}/{provider}"

    def open(self, upstreams: Mapping[str, Upstream]) -> None:
        """From now on calls go to *upstreams*, with their keys."""
        self._upstreams = upstreams

    @contextlib.contextmanager
    def warming(self) -> Iterator[str]:
        """
        Have a prompt that says the text that is given answered meanwhile.

        Nothing stands in for a model at other times, or for a user who prompts without one while OpenCode warms up.
        """
        text = f"warm up {secrets.token_urlsafe(16)}"
        self._warm_ups.add(text)
        try:
            yield text
        finally:
            self._warm_ups.discard(text)

    async def handle(self, request: Request, path_key: str, provider: str, path: str) -> Response:
        """Answer one call of OpenCode's: ``/{path_key}/{provider}/{path}``."""
        if not secrets.compare_digest(path_key.encode(), self._path_key.encode()):
            return _failure(HTTPStatus.NOT_FOUND, "no such route")
        if provider == WARM_UP:
            asked = await request.body()
            if any(text.encode() in asked for text in self._warm_ups):
                return _one_word()
            return _failure(HTTPStatus.NOT_FOUND, "no model is configured")
        upstream = self._upstreams.get(provider)
        if upstream is None or path not in upstream.routes:
            return _failure(HTTPStatus.NOT_FOUND, "no such route")
        url = httpx.URL(f"{upstream.base_url}/{path}", query=request.scope["query_string"] or None)
        try:
            answer, response = await relay(self._client, request, url, extra_headers=upstream.credentials)
            return await _without_secrets(answer, upstream) if answer.is_error else response
        except httpx.HTTPError as exc:
            return _failure(HTTPStatus.BAD_GATEWAY, f"the model cannot be reached ({type(exc).__name__})")


def create_model_app(proxy: ModelProxy) -> FastAPI:
    """The application of the loopback listener."""
    app = FastAPI(openapi_url=None)
    app.add_api_route(
        "/{path_key}/{provider}/{path:path}",
        proxy.handle,
        methods=["POST"],
        response_model=None,
        include_in_schema=False,
    )
    return app


async def _without_secrets(answer: httpx.Response, upstream: Upstream) -> Response:
    """An error as the provider told it: some repeat the key that they refuse, and OpenCode would store that."""
    body = b""
    try:
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > ERROR_BYTES:
                break
    finally:
        await answer.aclose()
    for credential in upstream.credentials.values():
        body = body.replace(credential.removeprefix("Bearer ").encode(), b"***")
    headers = {
        name: answer.headers[name]
        for name in ("content-type", "retry-after", "retry-after-ms")
        if name in answer.headers
    }
    return Response(body[:ERROR_BYTES], answer.status_code, headers)


def _failure(status: int, message: str) -> JSONResponse:
    """An error in the shape OpenAI's clients expect; Anthropic's read the same fields of it."""
    return JSONResponse({"type": "error", "error": {"message": message, "type": "sandboxd", "code": None}}, status)


def _one_word() -> Response:
    head = {"id": "warmup", "object": "chat.completion.chunk", "created": 0, "model": "warmup"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "ready"}, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage},
    ]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return Response(body, media_type="text/event-stream")
