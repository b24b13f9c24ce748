"""
OpenCode's events of one turn, as chunks of the AI SDK's UI message stream and as the parts of the stored message.

Order of a turn (measured, opencode 1.18.33): the user's message with our part id; the assistant's message, whose
``parentID`` is that message; step-start; parts; step-finish; the assistant's message completed; ``session.idle``. A
step that called tools is followed by a further assistant message. A try that fails (``session.status`` retry) is begun
again within the same message, in parts with new ids.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chat.parts import Chunk, StreamedPart, ToolPart
from chat.turn import Ask

Part = StreamedPart | ToolPart
# What OpenCode calls a session that the model has found no title for yet (measured, opencode 1.18.33).
UNTITLED = "New session - "


@dataclass(slots=True)
class _Step:
    """One assistant message."""

    parts: list[Part] = field(default_factory=list)
    over: bool = False
    repeated: list[StreamedPart] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Translation:
    """
    One turn's translation, fed with events in order. ``asks`` are the open ones, by tool call.

    ``let_go``: OpenCode has said that it is idle, knows the question, and has not begun to answer it.
    """

    session_id: str
    part_id: str
    finished: bool = False
    error: dict[str, Any] | None = None
    asked: bool = False
    let_go: bool = False
    asks: dict[str, Ask] = field(default_factory=dict)
    _user_message: str | None = None
    _steps: dict[str, _Step] = field(default_factory=dict)
    _parts: dict[str, Part] = field(default_factory=dict)
    _calls: dict[tuple[str, str], str] = field(default_factory=dict)
    _early_asks: dict[tuple[str, str], Ask] = field(default_factory=dict)
    _usage: dict[str, int] = field(default_factory=dict)
    _finish: str | None = None
    _model: str | None = None
    _title: str | None = None
    _closed: bool = False
    _handlers: dict[str, Callable[[dict[str, Any]], list[Chunk]]] = field(init=False)

    def __post_init__(self) -> None:
        self._handlers = {
            "message.updated": lambda properties: self._message(properties["info"]),
            "message.part.updated": lambda properties: self._part(properties["part"]),
            "message.part.delta": self._delta,
            "permission.asked": lambda properties: self._asked(Ask(kind="permission", id=properties["id"]), properties),
            "question.asked": lambda properties: self._asked(Ask(kind="question", id=properties["id"]), properties),
            "permission.replied": self._answered,
            "question.replied": self._answered,
            "question.rejected": self._answered,
            "session.updated": lambda properties: self._titled(properties["info"]),
            "session.status": lambda properties: self._status(properties["status"]),
            "session.error": self._failed,
            "session.idle": self._idle,
        }

    @property
    def aborted(self) -> bool:
        """Say whether somebody made the agent stop."""
        return (self.error or {}).get("name") == "MessageAbortedError"

    @property
    def empty_steps(self) -> int:
        """How many steps in a row, up to now, have ended with nothing in them."""
        count = 0
        for step in reversed(self._steps.values()):
            if not step.over or any(part.stored() is not None for part in step.parts):
                break
            count += 1
        return count

    def feed(self, event: dict[str, Any]) -> list[Chunk]:
        """Return the chunks that *event* adds."""
        properties = event.get("properties", {})
        handle = self._handlers.get(event.get("type", ""))
        if handle is None or self._closed or properties.get("sessionID") != self.session_id:
            return []
        return handle(properties)

    def resync(self, messages: list[dict[str, Any]]) -> list[Chunk]:
        """Return the chunks that are missing, given the session's messages as they are now."""
        chunks: list[Chunk] = []
        for part in (part for message in messages for part in message["parts"]):
            if part.get("id") == self.part_id:
                self._part(part)
        for message in messages:
            chunks += self._message({**message["info"], "time": {}})
            for part in message["parts"]:
                chunks += self._part(part)
            chunks += self._message(message["info"])
        return chunks

    def close(self) -> list[Chunk]:
        """Return the chunks that end whatever is open, for a turn that ends before OpenCode said so."""
        self._closed = True
        chunks: list[Chunk] = []
        for step in self._steps.values():
            for part in step.parts:
                chunks += part.end()
            if not step.over:
                step.over = True
                chunks.append({"type": "finish-step"})
        return chunks

    def parts(self) -> list[dict[str, Any]]:
        """Return the parts of the message as they are to be stored."""
        stored: list[dict[str, Any]] = []
        for step in self._steps.values():
            said = [part for part in (part.stored() for part in step.parts) if part is not None]
            stored += [{"type": "step-start"}, *said] if said else []
        return stored

    def metadata(self) -> dict[str, Any]:
        """Return the message's metadata: why it ended, what it used, which model answered; what is known of it."""
        known = {"finishReason": self._finish, "usage": self._usage or None, "model": self._model}
        return {name: value for name, value in known.items() if value is not None}

    def record(self) -> dict[str, Any]:
        """Return what a turn's record keeps of the answer."""
        tools = [part.receipt() for step in self._steps.values() for part in step.parts if isinstance(part, ToolPart)]
        return {"answered_by": self._model, "tokens": self._usage, "tools": tools}

    def _all_steps_over(self) -> bool:
        return bool(self._steps) and all(step.over for step in self._steps.values())

    def _message(self, info: dict[str, Any]) -> list[Chunk]:
        if info["role"] != "assistant" or self._user_message is None or info.get("parentID") != self._user_message:
            return []
        chunks: list[Chunk] = []
        if info["id"] not in self._steps:
            self._steps[info["id"]] = _Step()
            self.let_go = False
            chunks.append({"type": "start-step"})
        step = self._steps[info["id"]]
        if info.get("error"):
            self.error = info["error"]
        if info.get("time", {}).get("completed") and not step.over:
            step.over = True
            self._count(info)
            chunks.append({"type": "finish-step"})
        return chunks

    def _count(self, info: dict[str, Any]) -> None:
        tokens = info.get("tokens") or {}
        spent = {
            "inputTokens": "input",
            "outputTokens": "output",
            "reasoningTokens": "reasoning",
            "totalTokens": "total",
        }
        for name, key in spent.items():
            self._usage[name] = self._usage.get(name, 0) + int(tokens.get(key) or 0)
        self._finish = info.get("finish") or self._finish
        if info.get("modelID"):
            self._model = f"{info.get('providerID')}/{info['modelID']}"

    def _part(self, part: dict[str, Any]) -> list[Chunk]:
        if part["id"] == self.part_id:
            self.asked = True
            self._user_message = part["messageID"]
            return []
        step = self._steps.get(part["messageID"])
        if step is None:
            return []
        if part["type"] in ("text", "reasoning"):
            return self._streamed(step, part)
        if part["type"] == "tool":
            return self._tool(step, part)
        return []

    def _streamed(self, step: _Step, part: dict[str, Any]) -> list[Chunk]:
        chunks: list[Chunk] = []
        if part["id"] not in self._parts:
            chunks += self._begin(step, part)
        known = self._parts[part["id"]]
        if isinstance(known, StreamedPart):
            chunks += self._say(part["id"], known, part.get("text", ""))
            known = self._parts[part["id"]]
        if part.get("time", {}).get("end"):
            chunks += known.end()
        return chunks

    def _begin(self, step: _Step, part: dict[str, Any]) -> list[Chunk]:
        again = next((old for old in step.repeated if old.kind == part["type"]), None)
        if again is not None:
            step.repeated.remove(again)
            again.begin_again()
            self._parts[part["id"]] = again
            return []
        fresh = StreamedPart(kind=part["type"], chunk_id=part["id"])
        self._parts[part["id"]] = fresh
        step.parts.append(fresh)
        return fresh.begin()

    def _say(self, part_id: str, known: StreamedPart, text: str) -> list[Chunk]:
        """Say *text*; where a repeated try goes another way than the first, a part of its own begins."""
        if not known.differs(text):
            return known.whole(text)
        step = next(step for step in self._steps.values() if known in step.parts)
        fresh = StreamedPart(kind=known.kind, chunk_id=part_id)
        self._parts[part_id] = fresh
        step.parts.append(fresh)
        return [*known.end(), *fresh.begin(), *fresh.whole(text)]

    def _delta(self, properties: dict[str, Any]) -> list[Chunk]:
        known = self._parts.get(properties["partID"])
        if not isinstance(known, StreamedPart) or properties.get("field") != "text":
            return []
        return self._say(properties["partID"], known, known.said + properties["delta"])

    def _failed(self, properties: dict[str, Any]) -> list[Chunk]:
        if self.asked:
            self.error = self.error or properties.get("error") or {}
        return []

    def _idle(self, _: dict[str, Any]) -> list[Chunk]:
        """
        An idle before the question belongs to the turn before. One before its answer began may, or else somebody's
        abort hit the question before OpenCode was at work on it: then nothing follows (measured, opencode 1.18.33).
        """
        self.let_go = self.asked and not self._steps
        self.finished = self.finished or (self.asked and (self.error is not None or self._all_steps_over()))
        return []

    def _status(self, status: dict[str, Any]) -> list[Chunk]:
        """At a retry expect the parts of the last step again; the user is told that a further try follows, not why."""
        self.let_go = self.let_go and status["type"] == "idle"
        if status["type"] != "retry" or not self.asked:
            return []
        if self._steps:
            step = list(self._steps.values())[-1]
            step.repeated = [part for part in step.parts if isinstance(part, StreamedPart)]
        data = {"attempt": status.get("attempt"), "next_at": status.get("next")}
        return [{"type": "data-retry", "data": data, "transient": True}]

    def _tool(self, step: _Step, part: dict[str, Any]) -> list[Chunk]:
        chunks: list[Chunk] = []
        if part["id"] not in self._parts:
            tool = ToolPart(chunk_id=part["id"], name=part["tool"])
            self._parts[part["id"]] = tool
            step.parts.append(tool)
            self._calls[part["messageID"], part["callID"]] = part["id"]
            chunks += tool.begin()
        known = self._parts[part["id"]]
        if isinstance(known, ToolPart):
            chunks += known.update(part["tool"], part["state"])
            early = self._early_asks.pop((part["messageID"], part["callID"]), None) if known.started else None
            chunks += self._open_ask(known, early) if early is not None else []
            if not known.open:
                self.asks.pop(known.chunk_id, None)
        return chunks

    def _asked(self, ask: Ask, properties: dict[str, Any]) -> list[Chunk]:
        call = properties.get("tool") or {}
        place = (call.get("messageID", ""), call.get("callID", ""))
        tool = self._parts.get(self._calls.get(place, ""))
        if not isinstance(tool, ToolPart) or not tool.started:
            self._early_asks[place] = ask
            return []
        return self._open_ask(tool, ask)

    def _open_ask(self, tool: ToolPart, ask: Ask) -> list[Chunk]:
        self.asks[tool.chunk_id] = ask
        return tool.request_approval(ask.id) if ask.kind == "permission" else []

    def _answered(self, properties: dict[str, Any]) -> list[Chunk]:
        answered = [call for call, ask in self.asks.items() if ask.id == properties.get("requestID")]
        for call in answered:
            del self.asks[call]
            tool = self._parts[call]
            if isinstance(tool, ToolPart) and properties.get("reply") == "reject":
                tool.denied = True
        return []

    def _titled(self, info: dict[str, Any]) -> list[Chunk]:
        title = info.get("title")
        if not title or title == self._title or title.startswith(UNTITLED):
            return []
        self._title = title
        return [{"type": "data-thread", "data": {"title": title}, "transient": True}]
