"""
Where the time to the first delta goes: points along the path of a turn, each from somebody's own clock reading.

All clocks are this machine's. The functions' points are the calls that they report, the sandbox's are read off its
event log by a reader beside the turn's own.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import httpx

from bench.answers import Answer
from bench.calls import Call
from bench.figures import median
from local.stack.aws_clients import client
from local.stack.stack_file import StackFile
from threadbox.control import Access, SandboxControlClient

CONTROL = "threadbox-sandbox-ctl"
SOCKET, TURN = "chat-socket", "chat-turn"
POST = "PostToConnection"

SPANS = {
    "socket": "frame sent → socket function at work (API Gateway, invoke)",
    "claimed": "socket function: message stored, turn claimed",
    "invoked": "asynchronous invoke handed over",
    "turn": "→ turn function at work (asynchronous invoke)",
    "asked": "turn function: lease, sockets, question read",
    "ensured": "sandbox_ctl ensures the sandbox (invoke)",
    "ready": "turn function: generation noted",
    "accepted": "event log opened, prompt sent → OpenCode's first event",
    "delta": "OpenCode: first event → first delta (asks the model)",
    "posted": "delta read, translated, its frame's post begun",
    "received": "post → frame at the client",
}
"""The end of each span, in order, and what happened on the way there."""


@dataclass(slots=True)
class SandboxEvents:
    """When the sandbox's events came to a reader beside the turn's."""

    session_id: str
    first: float = 0
    delta: float = 0
    _texts: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """Begin a turn."""
        self.first = self.delta = 0
        self._texts.clear()

    def take(self, line: str) -> None:
        """Note a line of the event log."""
        event = json.loads(line).get("event") or {}
        properties = event.get("properties", {})
        if properties.get("sessionID") != self.session_id:
            return
        now = time.time()
        self.first = self.first or now
        if event["type"] == "message.part.updated" and properties["part"]["type"] == "text":
            self._texts.add(properties["part"]["id"])
        if event["type"] == "message.part.delta" and properties["partID"] in self._texts:
            self.delta = self.delta or now


@contextlib.asynccontextmanager
async def sandbox_events(stack: StackFile, thread: str) -> AsyncIterator[SandboxEvents]:
    """Read the event log of the thread's sandbox, from now on."""
    control = SandboxControlClient(client=client("lambda", stack.aws_url), function=CONTROL)
    access = await asyncio.to_thread(control.ensure, thread, scope="turn")
    if not isinstance(access, Access):
        raise TypeError("the sandbox does not run")
    events = SandboxEvents(access.session_id)
    opened = asyncio.Event()

    async def read(http: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {access.token}"}
        url = f"{access.url}/sandboxd/events"
        async with http.stream("GET", url, headers=headers, timeout=60) as response:
            async for line in response.raise_for_status().aiter_lines():
                opened.set()
                events.take(line)

    async with httpx.AsyncClient(trust_env=False) as http:
        reader = asyncio.create_task(read(http))
        try:
            await asyncio.wait_for(opened.wait(), 10)
            yield events
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader


def points(answer: Answer, calls: Sequence[Call], events: SandboxEvents) -> dict[str, float]:
    """The points of one turn, in seconds after the frame was sent; what was not seen is left out."""
    socket = [call for call in calls if call.function == SOCKET]
    turn = [call for call in calls if call.function == TURN]
    posts = [call for call in turn if call.operation == POST]
    invokes = [call for call in socket if call.operation == "Invoke"]
    ensures = [call for call in turn if call.operation == "Invoke" and call.began < events.first]
    before = [call for call in turn if call.operation != POST and call.began < events.first]
    found = {
        "socket": min((call.began for call in socket), default=0),
        "claimed": min((call.began for call in invokes), default=0),
        "invoked": min((call.ended for call in invokes), default=0),
        "turn": min((call.began for call in turn), default=0),
        "asked": min((call.began for call in ensures), default=0),
        "ensured": min((call.ended for call in ensures), default=0),
        "ready": max((call.ended for call in before if call.ended <= events.first), default=0),
        "accepted": events.first,
        "delta": events.delta,
        # One post per frame, in order: that of the frame with the first text.
        "posted": posts[answer.frames - 1].began if len(posts) >= answer.frames else 0,
        "received": answer.sent_at + answer.first,
    }
    return {name: at - answer.sent_at for name, at in found.items() if at}


def spans(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each span over the turns, in milliseconds; a point that is missing joins its span to the next."""
    names = [name for name in SPANS if all(name in turn for turn in turns)]
    starts = [None, *names[:-1]]
    return {
        name: round(1000 * median([turn[name] - (turn[start] if start else 0) for turn in turns]), 1)
        for start, name in zip(starts, names, strict=True)
    }
