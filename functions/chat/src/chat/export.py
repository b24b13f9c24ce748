"""
A thread's conversation as lines of JSON: a header, the messages, the turns, and what tools they called.

One answer has its limits; what does not fit follows in further ones, each of which begins behind the place where the
one before ended. A place is the kind and the number or name of a line: ``message:12``, ``turn:request``.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chat.messages import MessageStore
from chat.records import TurnRecord
from chat.shortening import escaped_size, fitting
from threadbox.clock import unix_time
from threadbox.errors import InvalidRequestError
from threadbox.queries import between, pages

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

FORMAT = "threadbox-export/1"
PLACE = re.compile(r"(message):([0-9]{1,9})|(turn):([A-Za-z0-9_-]{1,128})")
# A line has to fit beside the header.
LARGEST_LINE = 0.9


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of JSON; ``after`` is the place of the last one, if there are more."""

    body: str
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Writes exports."""

    table: "Table"
    store: MessageStore
    now: Callable[[], float] = unix_time

    def lines(self, thread_id: str, *, user_id: str, after: str | None, size: int) -> Lines:
        """
        Return the header and what follows the place *after*, in *size* bytes at most.

        Raises:
            InvalidRequestError: *after* is no place.
            HistoryUnavailableError: a body cannot be read.
        """
        place = PLACE.fullmatch(after or "message:0")
        if place is None:
            raise InvalidRequestError("This is no place in an export.")
        kind, name = filter(None, place.groups())
        header = {"type": "thread", "format": FORMAT, "thread_id": thread_id, "user_id": user_id}
        lines = [json.dumps({**header, "exported_at": int(self.now())})]
        room = size - escaped_size(lines[0])
        last = after
        for at, line in self._from(thread_id, kind, name, largest=int(room * LARGEST_LINE)):
            room -= escaped_size(line)
            if room < 0:
                return Lines("\n".join(lines) + "\n", after=last)
            lines.append(line)
            last = at
        return Lines("\n".join(lines) + "\n", after=None)

    def _from(self, thread_id: str, kind: str, name: str, *, largest: int) -> Iterator[tuple[str, str]]:
        if kind == "message":
            yield from self._messages(thread_id, int(name), largest)
            name = ""
        yield from self._turns(thread_id, name)

    def _messages(self, thread_id: str, after: int, largest: int) -> Iterator[tuple[str, str]]:
        for stored in self.store.oldest_first(thread_id, after=after):
            body = self.store.body(stored.item)
            if escaped_size(body) > largest:
                body = fitting(body, largest)
            about = json.dumps({"type": "message", "number": stored.number, "created_at": stored.created_at})
            yield f"message:{stored.number}", f'{about[:-1]}, "message": {body}}}'

    def _turns(self, thread_id: str, after: str) -> Iterator[tuple[str, str]]:
        """Yield each turn with what its tools did, which belongs together."""
        # No request id begins with another one and goes on with less than a hyphen.
        first = f"TURN#{after}!" if after else "TURN#"
        for item in pages(self.table, between(thread_id, first, "TURN#~")):
            request_id = str(item["sk"]).removeprefix("TURN#")
            record = TurnRecord.model_validate(item)
            told = {
                "type": "turn",
                "request_id": request_id,
                "number": _number(item.get("seq")),
                "created_at": _number(item.get("created_at")),
                "ended_at": _number(item.get("ended_at")),
                "outcome": item.get("outcome"),
                "ttft_ms": record.ttft_ms,
                "duration_ms": _number(item.get("duration_ms")),
                "model": record.answered_by,
                "tokens": record.tokens,
            }
            tools = [{"type": "tool", "request_id": request_id, **tool.model_dump()} for tool in record.tools]
            yield f"turn:{request_id}", "\n".join(json.dumps(each) for each in (told, *tools))


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
