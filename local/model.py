"""
Stands for a language model behind an OpenAI-compatible address: a deterministic demo that answers about the
conversation and really calls tools, so that everything can be tried and tested without a provider, a key or a network.

It answers ``GET /v1/models`` and ``POST /v1/chat/completions``, streaming or whole. The same messages always get the
same answer, word by word. ``local.demo.tasks`` lists the work it does, ``local.demo.script`` what tests can ask for.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from local.demo.answers import Answer, Sleep, speak
from local.demo.failures import fail
from local.demo.requests import ChatRequest
from local.demo.script import answer

MODELS = ("demo", "title")
ARGUMENTS_PIECE = 24
"""Characters of a call's arguments in one event."""


def usage(request: ChatRequest, reply: Answer) -> dict[str, object]:
    """Token counts as the API reports them; here a token is a word."""
    asked = sum(len(message.text().split()) for message in request.messages)
    counts: dict[str, object] = {
        "prompt_tokens": asked, "completion_tokens": reply.length, "total_tokens": asked + reply.length,
    }  # fmt: skip
    if reply.thoughts:
        counts["completion_tokens_details"] = {"reasoning_tokens": len(reply.thoughts)}
    return counts


async def sse(request: ChatRequest, reply: Answer, sleep: Sleep) -> AsyncIterator[str]:
    """The answer as server-sent events, ending with ``[DONE]``."""
    head = {"id": f"chatcmpl-{request.id}", "object": "chat.completion.chunk", "created": 0, "model": request.model}

    def event(choices: list[dict[str, object]], **more: object) -> str:
        return f"data: {json.dumps({**head, 'choices': choices, **more})}\n\n"

    def delta(content: dict[str, object], finish_reason: str | None = None) -> str:
        return event([{"index": 0, "delta": content, "finish_reason": finish_reason}])

    yield delta({"role": "assistant", "content": ""})
    async for kind, piece in speak(reply, sleep):
        yield delta({"reasoning_content" if kind == "thought" else "content": piece})
    if reply.call is not None:
        function = {"name": reply.call.tool, "arguments": ""}
        begin = {"index": 0, "id": f"call_{request.id}", "type": "function", "function": function}
        yield delta({"tool_calls": [begin]})
        arguments = json.dumps(reply.call.arguments)
        for start in range(0, len(arguments), ARGUMENTS_PIECE):
            piece = arguments[start : start + ARGUMENTS_PIECE]
            yield delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    yield delta({}, "stop" if reply.call is None else "tool_calls")
    if request.stream_options and request.stream_options.include_usage:
        yield event([], usage=usage(request, reply))
    yield "data: [DONE]\n\n"


async def whole(request: ChatRequest, reply: Answer, sleep: Sleep) -> Response:
    """The answer in one piece."""
    pieces = [piece async for piece in speak(reply, sleep)]
    message: dict[str, object] = {
        "role": "assistant",
        "content": "".join(text for kind, text in pieces if kind == "word"),
    }
    if reply.thoughts:
        message["reasoning_content"] = "".join(reply.thoughts)
    if reply.call is not None:
        function = {"name": reply.call.tool, "arguments": json.dumps(reply.call.arguments)}
        message["tool_calls"] = [{"id": f"call_{request.id}", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": "stop" if reply.call is None else "tool_calls"}
    head = {"id": f"chatcmpl-{request.id}", "object": "chat.completion", "created": 0, "model": request.model}
    return JSONResponse({**head, "choices": [choice], "usage": usage(request, reply)})


def create_app(*, delay: float, sleep: Sleep = asyncio.sleep) -> Starlette:
    """
    The model's two routes.

    Args:
        delay: seconds between two words.
        sleep: waits that many seconds.

    """
    failed: set[str] = set()

    async def chat_completions(http: Request) -> Response:
        try:
            request = ChatRequest.model_validate_json(await http.body())
        except ValidationError as exc:
            error = {"message": f"{exc.error_count()} problems with the request", "type": "invalid_request_error"}
            return JSONResponse({"error": error}, HTTPStatus.BAD_REQUEST)
        reply = answer(request, delay=delay)
        if reply.failure is not None and not (reply.once and request.id in failed):
            failed.add(request.id)
            return fail(reply.failure, sse(request, reply, sleep))
        if request.stream:
            return StreamingResponse(sse(request, reply, sleep), media_type="text/event-stream")
        return await whole(request, reply, sleep)

    async def models(_: Request) -> Response:
        return JSONResponse(
            {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "demo"} for name in MODELS]}
        )

    return Starlette(
        routes=[
            Route("/v1/models", models, methods=["GET"]),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        ]
    )


def main() -> None:
    """Serve on loopback until told to stop."""
    parser = argparse.ArgumentParser(prog="local.model", description="the demo model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay-ms", type=int, default=15, help="milliseconds between two words")
    options = parser.parse_args()
    uvicorn.run(create_app(delay=options.delay_ms / 1000), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
