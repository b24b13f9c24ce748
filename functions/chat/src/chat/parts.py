"""
The parts of an answer under way: what each update of OpenCode's adds to the stream, and what is stored in the end.

States of a tool (measured, opencode 1.18.33)::

    pending ──▶ running (input; partial output in metadata) ──▶ completed (output, title, metadata.exit) | error
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from chat.records import ToolReceipt
from chat.sizes import pieces, shortened

Chunk = dict[str, Any]
# Of what a call has put out so far, of which there is more every time.
PARTIAL_LIMIT = 16 * 1024


@dataclass(slots=True, kw_only=True)
class StreamedPart:
    """
    Text or reasoning.

    Whatever comes, only what is not yet streamed is sent: a part that arrives whole after its deltas adds nothing,
    and one that OpenCode begins anew after a failed try (``begin_again``) is silent until it says something new.
    """

    kind: Literal["text", "reasoning"]
    chunk_id: str
    streamed: str = ""
    said: str = ""
    open: bool = True

    def begin(self) -> list[Chunk]:
        """Return the chunk that begins the part."""
        return [{"type": f"{self.kind}-start", "id": self.chunk_id}]

    def begin_again(self) -> None:
        """Expect what was said to be said again."""
        self.said = ""

    def delta(self, piece: str) -> list[Chunk]:
        """Return the chunks that a further piece adds."""
        return self.whole(self.said + piece)

    def whole(self, text: str) -> list[Chunk]:
        """Return the chunks that make up for what is missing of *text*, as many as it takes for each to fit a frame."""
        self.said = text if len(text) >= len(self.said) else self.said
        if not self.open or not self.said.startswith(self.streamed) or len(self.said) == len(self.streamed):
            return []
        missing = self.said[len(self.streamed) :]
        self.streamed = self.said
        return [{"type": f"{self.kind}-delta", "id": self.chunk_id, "delta": piece} for piece in pieces(missing)]

    def differs(self, text: str) -> bool:
        """Say whether *text* goes another way than what was streamed, or on where that has ended."""
        if self.streamed.startswith(text):
            return False
        return not self.open or not text.startswith(self.streamed)

    def end(self) -> list[Chunk]:
        """Return the chunk that ends the part, once."""
        if not self.open:
            return []
        self.open = False
        return [{"type": f"{self.kind}-end", "id": self.chunk_id}]

    def stored(self) -> Chunk | None:
        """Return the part as it is to be stored, or None when there is nothing in it."""
        return {"type": self.kind, "text": self.streamed, "state": "done"} if self.streamed else None


@dataclass(slots=True, kw_only=True)
class ToolPart:
    """One call of a tool. Its chunk id is the id of OpenCode's part, which no other call has."""

    chunk_id: str
    name: str
    input: dict[str, Any] = field(default_factory=dict)
    output: Chunk | None = None
    error: str | None = None
    ask: str | None = None
    started: bool = False
    denied: bool = False
    duration_ms: int | None = None
    _shown: Chunk | None = None

    @property
    def open(self) -> bool:
        """Say whether the call has not ended."""
        return self.output is None and self.error is None

    def begin(self) -> list[Chunk]:
        """Return the chunk that begins the part."""
        return [{"type": "tool-input-start", "toolCallId": self.chunk_id, "toolName": self.name}]

    def update(self, tool: str, state: dict[str, Any]) -> list[Chunk]:
        """Return the chunks that a new state adds."""
        if not self.open:
            return []
        chunks = []
        status = state["status"]
        if status != "pending" and not self.started:
            self.started, self.name, self.input = True, tool, state.get("input") or {}
            chunks.append(self._chunk("tool-input-available", toolName=self.name, input=self.input))
        self.duration_ms = _duration(state.get("time") or {})
        if status == "running":
            chunks += self._running(state.get("metadata") or {})
        elif status == "completed":
            self.output = _output(state)
            chunks.append(self._chunk("tool-output-available", output=self.output))
        elif status == "error":
            chunks += self.fail(str(state.get("error") or "The tool failed."))
        return chunks

    def request_approval(self, ask_id: str) -> list[Chunk]:
        """Return the chunk that asks the user whether the tool may run."""
        self.ask = ask_id
        return [self._chunk("tool-approval-request", approvalId=ask_id)]

    def fail(self, error: str) -> list[Chunk]:
        """Return the chunk that ends the call with an error, or as refused."""
        if not self.open:
            return []
        self.error = error
        if self.denied:
            return [self._chunk("tool-output-denied")]
        return [self._chunk("tool-output-error", errorText=self.error)]

    def end(self) -> list[Chunk]:
        """Return the chunk that ends a call whose turn has ended."""
        if self.open and not self.started:
            self.started = True
            return [
                self._chunk("tool-input-available", toolName=self.name, input=self.input),
                *self.fail("The call was interrupted."),
            ]
        return self.fail("The call was interrupted.")

    def stored(self) -> Chunk:
        """Return the part as it is to be stored."""
        part: Chunk = {"type": f"tool-{self.name}", "toolCallId": self.chunk_id, "input": self.input}
        if self.output is not None:
            return {**part, "state": "output-available", "output": self.output}
        if self.denied and self.ask:
            return {**part, "state": "output-denied", "approval": {"id": self.ask, "approved": False}}
        return {**part, "state": "output-error", "errorText": self.error or "The call was interrupted."}

    def receipt(self) -> ToolReceipt:
        """Return what a turn's record keeps of the call."""
        return ToolReceipt(
            tool_call_id=self.chunk_id,
            tool=self.name,
            state=self.stored()["state"],
            exit_code=(self.output or {}).get("exit_code"),
            duration_ms=self.duration_ms,
        )

    def _running(self, metadata: dict[str, Any]) -> list[Chunk]:
        shown = {"output": shortened(str(metadata.get("output") or ""), PARTIAL_LIMIT)}
        if not metadata.get("output") or shown == self._shown:
            return []
        self._shown = shown
        return [self._chunk("tool-output-available", output=shown, preliminary=True)]

    def _chunk(self, kind: str, **fields: object) -> Chunk:
        return {"type": kind, "toolCallId": self.chunk_id, **fields}


def _duration(time: dict[str, Any]) -> int | None:
    return int(time["end"] - time["start"]) if "start" in time and "end" in time else None


def _output(state: dict[str, Any]) -> Chunk:
    """Return what the user sees of a completed call: text, title, exit code, and whether there was more."""
    metadata = state.get("metadata") or {}
    output: Chunk = {"output": str(state.get("output") or "")}
    if state.get("title"):
        output["title"] = state["title"]
    if isinstance(metadata.get("exit"), int):
        output["exit_code"] = metadata["exit"]
    if metadata.get("truncated"):
        output["truncated"] = True
    return output
