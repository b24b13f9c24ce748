"""
The models of a ChatGPT subscription, in the words of OpenAI's Responses API; what they say is the demo model's.

Only streams, as the real endpoint. The events are those that ``@ai-sdk/openai`` reads, in the order of the API:
``response.created``, the items (thoughts, a message, a call), ``response.completed``.
"""

import json
from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from local.demo.answers import Answer, Sleep, speak
from local.demo.failures import fail
from local.demo.requests import ChatRequest, Function, Message, Tool
from local.demo.script import answer
from local.idp.items import Event, FunctionCall, OutputMessage, Reasoning


class Content(BaseModel):
    """One part of what was said; only text has a meaning here."""

    type: str
    text: str = ""


class Item(BaseModel):
    """One item of the input: a message, a call, what came of a call, thoughts."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[Content] | None = None
    output: str | list[Content] | None = None
    """What came of a call."""

    def message(self) -> Message | None:
        """The item as the chat completions API has it; None if that has no place for it."""
        if self.type == "function_call_output":
            return Message(role="tool", content=text(self.output))
        if self.type == "message" and self.role is not None:
            return Message(role=self.role, content=text(self.content))
        return None


class OfferedTool(BaseModel):
    """A tool that may be called."""

    type: str
    name: str = ""


class ResponsesRequest(BaseModel):
    """The part of a request that decides the answer."""

    model: str
    instructions: str | None = None
    input: str | list[Item]
    tools: list[OfferedTool] = []

    def as_chat(self) -> ChatRequest:
        """The same request as the demo model takes it."""
        items = [Item(role="user", content=self.input)] if isinstance(self.input, str) else self.input
        messages = [Message(role="system", content=self.instructions)] if self.instructions else []
        messages += [message for item in items if (message := item.message()) is not None]
        functions = (tool.name for tool in self.tools if tool.type == "function")
        tools = [Tool(function=Function(name=name)) for name in functions]
        return ChatRequest(model=self.model, messages=messages, tools=tools, stream=True)


class Models:
    """Answers requests."""

    def __init__(self, *, delay: float, sleep: Sleep) -> None:
        """Take the seconds between two words, and what waits that long."""
        self._delay = delay
        self._sleep = sleep
        self._failed: set[str] = set()

    async def answer(self, body: bytes) -> Response:
        """
        The stream that answers a request.

        Raises:
            pydantic.ValidationError: the body is no request.

        """
        asked = ResponsesRequest.model_validate_json(body)
        request = asked.as_chat()
        reply = answer(request, delay=self._delay)
        stream = sse(request, reply, self._sleep)
        if reply.failure is not None and not (reply.once and request.id in self._failed):
            self._failed.add(request.id)
            return fail(reply.failure, stream)
        return StreamingResponse(stream, media_type="text/event-stream")


async def sse(request: ChatRequest, reply: Answer, sleep: Sleep) -> AsyncIterator[str]:
    """The answer as server-sent events."""
    number = 0
    async for event in events(request, reply, sleep):
        yield f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n"
        number += 1


async def events(request: ChatRequest, reply: Answer, sleep: Sleep) -> AsyncIterator[Event]:
    """The answer as the API's events, without their numbers."""
    head = {"id": f"resp_{request.id}", "object": "response", "created_at": 0, "model": request.model}
    yield {"type": "response.created", "response": {**head, "status": "in_progress", "output": []}}
    items: list[Reasoning | OutputMessage | FunctionCall] = []
    saying: Reasoning | OutputMessage | None = None
    async for kind, piece in speak(reply, sleep):
        if saying is None or saying.kind != kind:
            for event in saying.end() if saying else ():
                yield event
            saying = (Reasoning if kind == "thought" else OutputMessage)(request.id, len(items))
            items.append(saying)
            for event in saying.begin():
                yield event
        yield saying.add(piece)
    for event in saying.end() if saying else ():
        yield event
    if reply.call is not None:
        call = FunctionCall(request.id, len(items), reply.call)
        items.append(call)
        for event in call.events():
            yield event
    output = [item.whole() for item in items]
    done = {**head, "status": "completed", "output": output, "usage": usage(request, reply)}
    yield {"type": "response.completed", "response": done}


def usage(request: ChatRequest, reply: Answer) -> dict[str, object]:
    """Token counts as the API reports them; here a token is a word."""
    asked = sum(len(message.text().split()) for message in request.messages)
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.length,
        "output_tokens_details": {"reasoning_tokens": len(reply.thoughts)},
        "total_tokens": asked + reply.length,
    }


def text(content: str | list[Content] | None) -> str:
    """What was said, its parts joined."""
    if isinstance(content, list):
        return "\n".join(part.text for part in content if part.text)
    return content or ""
