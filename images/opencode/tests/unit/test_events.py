"""The numbered log: its bounds, its cursors, its streams."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sandboxd.events import BATCH_EVENTS, COMPACT_AT, EventLog, EventReader

pytestmark = pytest.mark.anyio


def filled(count: int, *, max_events: int = 100_000, max_bytes: int = 1 << 30) -> EventLog:
    log = EventLog(max_events=max_events, max_bytes=max_bytes)
    for number in range(1, count + 1):
        log.append(b'{"at":%d}' % number)
    return log


class Reader:
    """Reads a stream line by line, and fails rather than waits."""

    def __init__(self, log: EventLog, after: int | None = None, heartbeat: float = 60) -> None:
        self._chunks = log.stream(generation=3, after=after, heartbeat=heartbeat)
        self._lines: list[Any] = []

    async def line(self) -> dict[str, Any]:
        while not self._lines:
            async with asyncio.timeout(5):
                chunk = await anext(self._chunks)
            self._lines = [json.loads(line) for line in chunk.splitlines()]
        line: dict[str, Any] = self._lines.pop(0)
        return line

    async def numbers(self, count: int) -> list[int]:
        lines = [await self.line() for _ in range(count)]
        assert [line["n"] for line in lines] == [line["event"]["at"] for line in lines]
        return [line["n"] for line in lines]


def test_an_empty_log_says_so() -> None:
    """Numbers begin at 1."""
    log = filled(0)

    assert (log.first, log.last) == (1, 0)


def test_the_oldest_events_fall_out_by_count() -> None:
    """The rest keep their numbers."""
    log = filled(10, max_events=4)

    assert (log.first, log.last) == (7, 10)
    assert [json.loads(line)["n"] for line in log.read(6)] == [7, 8, 9, 10]


def test_the_oldest_events_fall_out_by_size() -> None:
    """The bound counts the bytes of the lines that are kept."""
    log = filled(100, max_bytes=400)

    assert sum(len(line) for line in log.read(log.first - 1)) <= 400
    assert log.first > 80
    assert log.last == 100


def test_an_event_over_the_bound_is_kept_until_the_next() -> None:
    """A reader gets even the largest event, if only it is there in time."""
    log = filled(3, max_bytes=100)
    log.append(b'"%b"' % (b"x" * 1000))

    assert (log.first, log.last) == (4, 4)
    log.append(b"{}")
    assert (log.first, log.last) == (5, 5)


def test_numbers_survive_the_log_being_tidied() -> None:
    """What fell out is cut off in larger pieces; nobody notices."""
    log = filled(3 * COMPACT_AT, max_events=10)

    assert (log.first, log.last) == (3 * COMPACT_AT - 9, 3 * COMPACT_AT)
    assert json.loads(log.read(log.last - 1)[0])["n"] == 3 * COMPACT_AT
    assert len(log._lines) <= COMPACT_AT + 11


async def test_a_stream_without_a_cursor_begins_now() -> None:
    """The first line tells where that is."""
    log = filled(5)
    reader = Reader(log)

    assert await reader.line() == {"type": "cursor", "generation": 3, "first": 1, "last": 5}
    log.append(b'{"at":6}')
    assert await reader.numbers(1) == [6]


async def test_a_stream_goes_on_from_its_cursor() -> None:
    """Nothing is missed, nothing comes twice, over more than one batch."""
    count = 2 * BATCH_EVENTS + 5
    reader = Reader(filled(count), after=3)
    await reader.line()

    assert list(range(4, count + 1)) == await reader.numbers(count - 3)


async def test_a_cursor_from_before_the_log_is_told_of_the_gap() -> None:
    """And goes on with what is there."""
    reader = Reader(filled(10, max_events=4), after=2)

    assert ((line := await reader.line())["type"], line["first"]) == ("cursor", 7)
    assert await reader.line() == {"type": "gap", "first": 7}
    assert await reader.numbers(4) == [7, 8, 9, 10]


@pytest.mark.parametrize("after", [6, 10])
async def test_a_cursor_at_an_edge_of_the_log_has_no_gap(after: int) -> None:
    """The next event is there, or is yet to come."""
    log = filled(10, max_events=4)
    reader = Reader(log, after=after)
    await reader.line()
    log.append(b'{"at":11}')

    assert after + 1 in (7, 11)
    assert {"event" if after == 10 else "gap"} == {(await reader.line())["type"]}


async def test_a_cursor_from_the_future_is_told_of_a_gap() -> None:
    """It cannot be from this log: its owner has to re-sync."""
    log = filled(3)
    reader = Reader(log, after=9)
    await reader.line()

    assert await reader.line() == {"type": "gap", "first": 4}
    log.append(b'{"at":4}')
    assert await reader.numbers(1) == [4]


async def test_a_reader_that_falls_behind_is_told_of_the_gap() -> None:
    """The log does not wait for slow readers."""
    log = filled(2, max_events=4)
    reader = Reader(log, after=0)
    await reader.line()
    assert await reader.numbers(2) == [1, 2]
    for number in range(3, 11):
        log.append(b'{"at":%d}' % number)

    assert await reader.line() == {"type": "gap", "first": 7}
    assert await reader.numbers(4) == [7, 8, 9, 10]


async def test_a_waiting_reader_is_woken_by_an_event() -> None:
    """It does not wait for the next heartbeat."""
    log = filled(0)
    reader = Reader(log, after=0)
    await reader.line()
    waiting = asyncio.create_task(reader.numbers(1))
    await asyncio.sleep(0)  # lets the reader come to its wait
    log.append(b'{"at":1}')

    assert await waiting == [1]


async def test_heartbeats_come_in_silence_and_between_events() -> None:
    """A reader tells a quiet sandbox from a dead one, and a busy one too."""
    log = filled(1)
    reader = Reader(log, heartbeat=0)
    await reader.line()
    assert await reader.line() == {"type": "heartbeat", "last": 1}

    log.append(b'{"at":2}')
    assert {"event", "heartbeat"} == {(await reader.line())["type"] for _ in range(3)}


async def test_a_closed_log_ends_its_streams_after_the_last_event() -> None:
    """Whoever waits is woken to hear it."""
    log = filled(0)
    reader = Reader(log)
    await reader.line()
    waiting = asyncio.create_task(reader.numbers(1))
    await asyncio.sleep(0)  # lets the reader come to its wait
    log.append(b'{"at":1}')
    log.close()

    assert await waiting == [1]
    with pytest.raises(StopAsyncIteration):
        await reader.line()


CONNECTED = b'data: {"id":"evt_0","type":"server.connected","properties":{}}\n\n'
HEARTBEAT = b'data: {"id":"evt_1","type":"server.heartbeat","properties":{}}\n\n'


class Stream(httpx.AsyncByteStream):
    """What OpenCode sends on one connection; the last one stays open."""

    def __init__(self, chunks: list[bytes], *, stays_open: bool) -> None:
        self._chunks = chunks
        self._stays_open = stays_open

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._stays_open:
            await asyncio.Event().wait()


async def read(*connections: list[bytes], until: int, ignored: str | None = None) -> list[dict[str, Any]]:
    """Let an EventReader read these connections, one after the other, until the log has that many events."""
    pending = [Stream(chunks, stays_open=chunks is connections[-1]) for chunks in connections]

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/event"
        return httpx.Response(200, stream=pending.pop(0))

    log = filled(0)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://opencode") as client:
        reader = EventReader(client, log)
        if ignored:
            reader.ignore_session(ignored)
        task = asyncio.create_task(reader.run())
        async with asyncio.timeout(5):
            await reader.connected()
            while log.last < until:
                await log.wait(log.last, 5)
        task.cancel()
    return [json.loads(line)["event"] for line in log.read(0)]


async def test_events_are_kept_as_they_came() -> None:
    """However the stream was cut into pieces, and without OpenCode's own heartbeat."""
    stream = CONNECTED + b'data: {"type":"a","text":"\xc3\xa4 \\n"}\n\n' + HEARTBEAT + b'data: {"type":"b"}\n\n'
    pieces = [stream[at : at + 7] for at in range(0, len(stream), 7)]

    assert await read(pieces, until=2) == [{"type": "a", "text": "ä \n"}, {"type": "b"}]


async def test_events_of_the_warm_up_are_left_out() -> None:
    """They are nobody's business."""
    mine = b'data: {"type":"a","properties":{"sessionID":"ses_mine"}}\n\n'

    events = await read([CONNECTED, mine.replace(b"mine", b"warm"), mine], until=1, ignored="ses_warm")

    assert [event["properties"]["sessionID"] for event in events] == ["ses_mine"]


async def test_a_broken_stream_is_read_again_and_leaves_a_mark() -> None:
    """What came in between is lost, so readers are told to re-sync."""
    events = await read([CONNECTED, b'data: {"type":"a"}\n\n'], [CONNECTED, b'data: {"type":"b"}\n\n'], until=3)

    assert [event["type"] for event in events] == ["a", "opencode.resync", "b"]
