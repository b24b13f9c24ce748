"""
The backend as the page sees it, for what the real one cannot be made to do on command: fall silent, drop the
connection, come back with the rest. What a message says decides what happens to its answer.
"""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.browser.fake_codex import FakeCodex

ANSWER = ("This ", "is ", "the ", "whole ", "answer.")


class FakeChat:
    """
    One process-wide conversation per thread id.

    ``refusing`` turns every new connection away; ``late`` answers probes after the next message only. What stands in
    ``failures``, codes and sentences, fails the next answers and starts of the sandbox, one each.
    """

    def __init__(self) -> None:
        self.refusing = False
        self.failures: list[tuple[str, str]] = []
        self.late = False
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.received: list[dict[str, Any]] = []
        self.sandbox: dict[str, Any] = {"state": "stopped"}
        self.models: list[dict[str, Any]] | None = None
        self.deletable = True
        self.codex = FakeCodex()
        # What a probe is told while an answer is under way.
        self.told: tuple[str, ...] = ("resuming",)
        self._running: dict[str, str] = {}
        self._probes: list[str] = []

    def app(self, page: str) -> Starlette:
        """The HTTP and WebSocket sides; *page* is the origin that may call."""
        cors = Middleware(
            CORSMiddleware,
            allow_origins=[page],
            allow_headers=["authorization", "content-type", "prefer"],
            allow_methods=["GET", "POST", "DELETE"],
            expose_headers=["retry-after"],
        )
        return Starlette(
            routes=[
                Route("/http/agents/chat/{thread}/get-messages", self._history),
                Route("/http/api/sandbox/{thread}", self._sandbox, methods=["GET", "POST", "DELETE"]),
                Route("/http/api/sandbox/{thread}/models", self._models),
                Route("/http/api/threads/{thread}", self._delete, methods=["DELETE"]),
                WebSocketRoute("/ws/live", self._socket),
                Mount("/http", self.codex.app()),
            ],
            middleware=[cors],
        )

    async def _history(self, request: Request) -> Response:
        return JSONResponse(self.histories.get(request.path_params["thread"], []))

    async def _sandbox(self, request: Request) -> Response:
        if request.method == "POST" and self.failures:
            code, message = self.failures.pop(0)
            return refusal(503, message, code=code)
        return JSONResponse({**self.sandbox, "codex": self.codex.status})

    async def _models(self, _: Request) -> Response:
        return refusal(503, "The sandbox is still starting.") if self.models is None else JSONResponse(self.models)

    async def _delete(self, request: Request) -> Response:
        if not self.deletable:
            return refusal(503, "The sandbox cannot be ended just now.")
        self.histories.pop(request.path_params["thread"], None)
        return JSONResponse({"ok": True, "removed": {}})

    async def _socket(self, socket: WebSocket) -> None:
        if self.refusing:
            await socket.close()
            return
        await socket.accept()
        self.codex.met(socket)
        try:
            async for text in socket.iter_text():
                frame = json.loads(text)
                self.received.append(frame)
                if await self._act(Wire(socket), socket.query_params["thread"], frame):
                    await socket.close()
                    return
        except WebSocketDisconnect:
            return
        finally:
            self.codex.sockets.discard(socket)

    async def _act(self, wire: "Wire", thread: str, frame: dict[str, Any]) -> bool:
        """Whether the connection is dropped after this frame."""
        match frame["type"]:
            case "cf_agent_use_chat_request":
                while self._probes:
                    await wire.send(type="cf_agent_stream_resume_none", reason="idle", probeId=self._probes.pop())
                message = json.loads(frame["init"]["body"])["messages"][-1]
                history = self.histories.setdefault(thread, [])
                if message not in history:
                    history.append(message)
                if self.failures:
                    code, sentence = self.failures.pop(0)
                    await wire.send_response(frame["id"], sentence, done=True, error=True, code=code)
                    return False
                return await self._answer(wire, thread, frame["id"], message["parts"][0]["text"])
            case "cf_agent_stream_resume_request" if self.late and thread not in self._running:
                self._probes.append(frame["probeId"])
            case "cf_agent_stream_resume_request":
                for answer in self.told if thread in self._running else ("none",):
                    await wire.tell(answer, self._running.get(thread), frame["probeId"])
            case "cf_agent_stream_resume_ack":
                await wire.words(frame["id"], ANSWER, replay=True)
                await wire.send_response(frame["id"], done=True, outcome="completed", replay=True)
                self._finish(thread)
        return False

    async def _answer(self, wire: "Wire", thread: str, request: str, text: str) -> bool:
        self._running[thread] = request
        if text.startswith(("wait", "elsewhere", "too large")):
            await self._surprise(wire, thread, request, text)
        elif text.startswith("hang"):
            await wire.words(request, ANSWER[:2])
        elif text.startswith("fail"):
            del self._running[thread]
            await wire.send_response(
                request, "The model refused the key.", done=True, error=True, code="model_unauthorized"
            )
        elif text.startswith("retry"):
            await wire.chunk(request, type="start", messageId=f"answer-{request}")
            await wire.chunk(request, type="data-retry", data={"attempt": 1, "next_at": 0}, transient=True)
        elif text.startswith("forget"):
            data = {"state": "running", "detail": "ready", "context_lost": True}
            await wire.chunk(request, type="data-sandbox", data=data, transient=True)
            await wire.words(request, ANSWER)
            await wire.send_response(request, done=True, outcome="completed")
            self._finish(thread)
        elif text.startswith("work"):
            await wire.chunk(request, type="start", messageId=f"answer-{request}")
            await wire.work("call-1", request)
        elif text.startswith("drop"):
            await wire.words(request, ANSWER[:2])
            if "end" in text:
                self._finish(thread)
            self.refusing = "away" in text
            return True
        else:
            for detail in ("requested", "booting"):
                await wire.chunk(
                    request, type="data-sandbox", data={"state": "starting", "detail": detail}, transient=True
                )
            self.sandbox = {"state": "running"}
            await wire.chunk(request, type="data-sandbox", data=self.sandbox, transient=True)
            await wire.words(request, ANSWER)
            await wire.send_response(request, done=True, outcome="completed")
            self._finish(thread)
        return False

    async def _surprise(self, wire: "Wire", thread: str, request: str, text: str) -> None:
        if text.startswith("wait"):
            self.sandbox = {"state": "running"}
            await wire.notice(type="data-sandbox", data={"state": "running", "detail": "ready"}, transient=True)
        elif text.startswith("elsewhere"):
            await wire.words(request, ANSWER)
            await wire.send_response(request, done=True, outcome="completed")
            self._finish(thread)
            question = {"id": "from-another-tab", "role": "user", "parts": [{"type": "text", "text": "And what else?"}]}
            self.histories[thread].append(question)
            await wire.notice(type="data-history", data={}, transient=True)
        else:
            self.histories[thread].pop()
            del self._running[thread]
            await wire.close(1009)

    def _finish(self, thread: str) -> None:
        request = self._running.pop(thread)
        parts = [{"type": "text", "text": "".join(ANSWER), "state": "done"}]
        self.histories[thread].append({"id": f"answer-{request}", "role": "assistant", "parts": parts})


def refusal(status: int, message: str, *, code: str = "sandbox_unavailable") -> Response:
    """An error as the product's APIs answer it."""
    return JSONResponse({"ok": False, "code": code, "message": message}, status)


class Wire:
    """Writes the protocol's frames to one socket."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def send(self, **frame: object) -> None:
        """One frame."""
        await self._socket.send_text(json.dumps(frame))

    async def tell(self, answer: str, request: str | None, probe: str) -> None:
        """What a probe is answered: that there is something to attach to, or ``none``."""
        if answer == "none":
            await self.send(type="cf_agent_stream_resume_none", reason="idle", probeId=probe)
        else:
            await self.send(type="cf_agent_stream_resuming", id=request, probeId=probe)

    async def send_response(self, request: str, body: str = "", **fields: object) -> None:
        """One frame of an answer."""
        await self.send(type="cf_agent_use_chat_response", id=request, body=body, **({"done": False} | fields))

    async def notice(self, **chunk: object) -> None:
        """One chunk outside of any answer."""
        await self.send_response("notice-1", json.dumps(chunk), done=True, outcome="completed")

    async def close(self, code: int) -> None:
        """The end, as the other side gives it."""
        await self._socket.close(code)

    async def chunk(self, request: str, *, replay: bool = False, **chunk: object) -> None:
        """One chunk of an answer."""
        await self.send_response(request, json.dumps(chunk), **({"replay": True} if replay else {}))

    async def words(self, request: str, words: tuple[str, ...], *, replay: bool = False) -> None:
        """The beginning of an answer, or all of it."""
        await self.chunk(request, replay=replay, type="start", messageId=f"answer-{request}")
        await self.chunk(request, replay=replay, type="text-start", id="t")
        for word in words:
            await self.chunk(request, replay=replay, type="text-delta", id="t", delta=word)

    async def work(self, call: str, request: str) -> None:
        """A command that is still printing."""
        output = {"output": "\n".join(f"line {n}" for n in range(1, 61))}
        await self.chunk(request, type="tool-input-start", toolCallId=call, toolName="bash")
        await self.chunk(
            request, type="tool-input-available", toolCallId=call, toolName="bash", input={"command": "make all"}
        )
        await self.chunk(request, type="tool-output-available", toolCallId=call, output=output, preliminary=True)
