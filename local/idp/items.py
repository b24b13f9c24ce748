"""The items that an answer in the Responses API is made of, and the events that tell of each."""

import json
from collections.abc import Iterator
from typing import Any

from local.demo.answers import Call

ARGUMENTS_PIECE = 24
"""Characters of a call's arguments in one event."""

Event = dict[str, Any]


class Reasoning:
    """Thoughts, of which the caller sees a summary."""

    kind = "thought"

    def __init__(self, key: str, index: int) -> None:
        self._id = f"rs_{key}"
        self._index = index
        self._where = {"item_id": self._id, "output_index": index, "summary_index": 0}
        self._text = ""

    def begin(self) -> Iterator[Event]:
        """That it comes."""
        item: Event = {"id": self._id, "type": "reasoning", "summary": [], "encrypted_content": None}
        yield {"type": "response.output_item.added", "output_index": self._index, "item": item}
        yield {"type": "response.reasoning_summary_part.added", **self._where, "part": self._part("")}

    def add(self, piece: str) -> Event:
        """More of it."""
        self._text += piece
        return {"type": "response.reasoning_summary_text.delta", **self._where, "delta": piece}

    def end(self) -> Iterator[Event]:
        """That it is complete."""
        yield {"type": "response.reasoning_summary_text.done", **self._where, "text": self._text}
        yield {"type": "response.reasoning_summary_part.done", **self._where, "part": self._part(self._text)}
        yield {"type": "response.output_item.done", "output_index": self._index, "item": self.whole()}

    def whole(self) -> Event:
        """The item."""
        # What a caller that stores nothing gives back, so that the model remembers its thoughts. There is no model.
        thoughts = {"summary": [self._part(self._text)], "encrypted_content": "the demo model forgets"}
        return {"id": self._id, "type": "reasoning", **thoughts}

    @staticmethod
    def _part(text: str) -> Event:
        return {"type": "summary_text", "text": text}


class OutputMessage:
    """What is said."""

    kind = "word"

    def __init__(self, key: str, index: int) -> None:
        self._id = f"msg_{key}"
        self._index = index
        self._where = {"item_id": self._id, "output_index": index, "content_index": 0}
        self._text = ""

    def begin(self) -> Iterator[Event]:
        """That it comes."""
        item = {"id": self._id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", "output_index": self._index, "item": item}
        yield {"type": "response.content_part.added", **self._where, "part": self._part("")}

    def add(self, piece: str) -> Event:
        """More of it."""
        self._text += piece
        return {"type": "response.output_text.delta", **self._where, "delta": piece}

    def end(self) -> Iterator[Event]:
        """That it is complete."""
        yield {"type": "response.output_text.done", **self._where, "text": self._text}
        yield {"type": "response.content_part.done", **self._where, "part": self._part(self._text)}
        yield {"type": "response.output_item.done", "output_index": self._index, "item": self.whole()}

    def whole(self) -> Event:
        """The item."""
        content = [self._part(self._text)]
        return {"id": self._id, "type": "message", "role": "assistant", "status": "completed", "content": content}

    @staticmethod
    def _part(text: str) -> Event:
        return {"type": "output_text", "text": text, "annotations": []}


class FunctionCall:
    """A tool to call."""

    def __init__(self, key: str, index: int, call: Call) -> None:
        self._id = f"fc_{key}"
        self._index = index
        self._arguments = json.dumps(call.arguments)
        self._call = {"id": self._id, "type": "function_call", "call_id": f"call_{key}", "name": call.tool}

    def events(self) -> Iterator[Event]:
        """All of it."""
        begun = {**self._call, "arguments": "", "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": self._index, "item": begun}
        where = {"item_id": self._id, "output_index": self._index}
        for start in range(0, len(self._arguments), ARGUMENTS_PIECE):
            piece = self._arguments[start : start + ARGUMENTS_PIECE]
            yield {"type": "response.function_call_arguments.delta", **where, "delta": piece}
        yield {"type": "response.function_call_arguments.done", **where, "arguments": self._arguments}
        yield {"type": "response.output_item.done", "output_index": self._index, "item": self.whole()}

    def whole(self) -> Event:
        """The item."""
        return {**self._call, "arguments": self._arguments, "status": "completed"}
