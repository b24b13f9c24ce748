"""Chunks of the AI SDK's UI message stream: joining and splitting them, and making them anew from a stored message."""

from typing import Any

from chat.parts import Chunk, StreamedPart
from chat.sizes import DELTA_LIMIT, pieces


def merged(chunks: list[Chunk], *, limit: int = DELTA_LIMIT) -> list[Chunk]:
    """Return *chunks* with neighbouring deltas of one part joined, each delta of at most *limit* bytes in a frame."""
    joined: list[Chunk] = []
    for chunk in chunks:
        last = joined[-1] if joined else {}
        if "delta" in chunk and last.get("type") == chunk["type"] and last["id"] == chunk["id"]:
            joined[-1] = {**last, "delta": last["delta"] + chunk["delta"]}
        else:
            joined.append(chunk)
    return [piece for chunk in joined for piece in _split(chunk, limit)]


def replayed(message: dict[str, Any]) -> list[Chunk]:
    """Return the chunks that make a stored answer anew, for a socket that missed its stream."""
    chunks: list[Chunk] = [{"type": "start", "messageId": message["id"]}]
    steps = 0
    for place, part in enumerate(message["parts"]):
        if part["type"] == "step-start":
            chunks += [{"type": "finish-step"}] * (1 if steps else 0) + [{"type": "start-step"}]
            steps += 1
        elif part["type"] in ("text", "reasoning"):
            whole = StreamedPart(kind=part["type"], chunk_id=f"{part['type']}-{place}")
            chunks += [*whole.begin(), *merged(whole.whole(part["text"])), *whole.end()]
        elif part["type"].startswith("tool-"):
            chunks += _replayed_tool(part)
    finish: Chunk = {"type": "finish"}
    if message.get("metadata"):
        finish["messageMetadata"] = message["metadata"]
    return [*chunks, *([{"type": "finish-step"}] if steps else []), finish]


def _replayed_tool(part: Chunk) -> list[Chunk]:
    call = {"toolCallId": part["toolCallId"]}
    begin = {"type": "tool-input-available", **call, "toolName": part["type"][5:], "input": part["input"]}
    if part["state"] == "output-available":
        return [begin, {"type": "tool-output-available", **call, "output": part["output"]}]
    if part["state"] == "output-denied":
        ask = {"type": "tool-approval-request", **call, "approvalId": part["approval"]["id"]}
        return [begin, ask, {"type": "tool-output-denied", **call}]
    return [begin, {"type": "tool-output-error", **call, "errorText": part.get("errorText", "")}]


def _split(chunk: Chunk, limit: int) -> list[Chunk]:
    if not chunk.get("delta"):
        return [chunk]
    return [{**chunk, "delta": piece} for piece in pieces(chunk["delta"], limit)]
