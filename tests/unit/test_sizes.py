"""Whatever an answer says, its frames fit, and nothing that is said is lost."""

import asyncio
import json
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import frames
from chat.chunks import merged
from chat.messages import UIMessage
from chat.opencode import OpenCodeClient
from chat.parts import StreamedPart
from chat.sizes import DELTA_LIMIT, FRAME_LIMIT, SHORTENED, pieces, taken
from threadbox.control import Access

REQUEST = "r" * 128

# What takes one byte in a frame, two, three, four by nature or by escapes, and seven; and one of several code points.
LETTERS = st.sampled_from(["a", "é", "✓", "😀", '"', "\\", "\n", "\x00", "\x1f", "\u2028", "👩‍💻"])
SHORT = st.text() | st.lists(LETTERS).map("".join)
LONG = st.builds(
    lambda unit, times, rest: unit * times + rest, st.lists(LETTERS, min_size=1, max_size=5).map("".join),
    st.integers(1, 20_000), SHORT,
)  # fmt: skip
TEXTS = SHORT | LONG
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=8,
)
WIDE = st.builds(lambda value, times: [value] * times, SHORT, st.integers(0, 5000))


def size(frame: str) -> int:
    return len(frame.encode())


def sent(chunk) -> str:
    """The largest frame that carries the chunk."""
    return frames.response(REQUEST, chunk, replay=True)


def received(frame: str):
    return json.loads(json.loads(frame)["body"])


@given(TEXTS, st.integers(7, 400))
def test_pieces_are_the_text_and_fit(text, limit):
    """
    Put together they are what was said; each is as long as it can be.
    """
    came = list(pieces(text, limit))

    assert "".join(came) == text
    assert all(0 < taken(piece) <= limit for piece in came)
    assert all(taken(piece + later[0]) > limit for piece, later in pairwise(came))


@given(TEXTS, TEXTS)
def test_what_text_takes_is_the_sum_of_its_characters(one, other):
    """
    So that a longer text never takes less, whatever stands at the seam.
    """
    assert taken(one) + taken(other) == taken(one + other)


@given(st.sampled_from(["text", "reasoning"]), st.lists(TEXTS, max_size=6))
def test_deltas_fit_and_say_everything_in_order(kind, said):
    """
    From the agent's deltas, merged, over the wire: what is read is what was said, byte for byte.
    """
    part = StreamedPart(kind=kind, chunk_id="prt_" + "x" * 26)
    chunks = [chunk for piece in said for chunk in part.delta(piece)]

    for stream in (chunks, merged(chunks)):
        on_the_wire = [sent(chunk) for chunk in stream]
        assert all(size(frame) <= FRAME_LIMIT for frame in on_the_wire)
        assert "".join(received(frame)["delta"] for frame in on_the_wire) == "".join(said)


@given(st.lists(st.tuples(st.sampled_from("ab"), TEXTS.filter(bool)), max_size=8))
def test_merging_keeps_the_order_of_parts(said):
    """
    Deltas of one part are joined only where nothing stands between them.
    """
    chunks = [{"type": "text-delta", "id": part, "delta": piece} for part, piece in said]

    def spoken(stream):
        return [(chunk["id"], letter) for chunk in stream for letter in chunk["delta"]]

    assert spoken(merged(chunks)) == spoken(chunks)


@given(
    st.sampled_from([("tool-input-available", "input"), ("tool-output-available", "output"), ("data-thread", "data")]),
    VALUES | WIDE | st.dictionaries(SHORT, WIDE, max_size=3),
)
def test_every_chunk_fits(of, value):
    """
    Whatever a tool is given or puts out; what names the call stays, and what fits is not touched.
    """
    kind, field = of
    chunk = {"type": kind, "toolCallId": "prt_1", "toolName": "bash", field: value}

    frame = sent(chunk)

    assert size(frame) <= FRAME_LIMIT
    came = received(frame)
    assert came | {field: value} == chunk
    if taken(json.dumps(chunk, ensure_ascii=False)) <= DELTA_LIMIT:
        assert came == chunk


@given(TEXTS)
def test_errors_of_tools_fit(text):
    """
    However much a tool complains.
    """
    assert size(sent({"type": "tool-output-error", "toolCallId": "prt_1", "errorText": text})) <= FRAME_LIMIT


def test_long_output_keeps_its_ends_and_says_that_it_is_shortened():
    """
    The beginning and the end of what a command put out, with a mark between them.
    """
    output = {"output": "begin" + "x" * 100_000 + "end", "exit_code": 1}

    came = received(sent({"type": "tool-output-available", "toolCallId": "prt_1", "output": output}))["output"]

    assert came["output"].startswith("beginx")
    assert came["output"].endswith("xend")
    assert SHORTENED in came["output"]
    assert len(came["output"]) > 20_000
    assert (came["exit_code"], came["truncated"]) == (1, True)
    assert "truncated" not in output


@given(st.lists(TEXTS, max_size=5))
def test_snapshots_fit_or_tell_to_look(texts):
    """
    All messages or none: a tab that was sent some would forget the others.
    """
    messages = [
        UIMessage(id=str(n), role="user", parts=[{"type": "text", "text": text}]) for n, text in enumerate(texts)
    ]

    frame = frames.snapshot(messages)

    assert size(frame) <= FRAME_LIMIT
    came = json.loads(frame)
    if came["type"] == "cf_agent_chat_messages":
        assert [message["parts"][0]["text"] for message in came["messages"]] == texts
    else:
        assert frame == frames.history_changed()
        assert sum(len(text.encode()) for text in texts) > FRAME_LIMIT / 7


def test_history_that_changed_is_said_in_a_frame_that_ends_nothing():
    """
    The client passes over a frame that is done, of a request that it does not know.
    """
    frame = json.loads(frames.history_changed())

    assert (frame["type"], frame["done"]) == ("cf_agent_use_chat_response", True)
    assert json.loads(frame["body"]) == {"type": "data-history", "data": {}, "transient": True}


@pytest.mark.parametrize(("said", "read"), [(r"half \ud83d", "half �"), (r"whole \ud83d\ude00", "whole 😀")])
def test_halves_of_characters_are_not_passed_on(said, read):
    """
    JavaScript cuts a text between the two halves of a character; half a one can neither be sent nor stored.
    """
    answer = httpx.MockTransport(lambda _: httpx.Response(200, text=f'[{{"text": "{said}"}}]'))
    access = Access(url="http://sandbox", token="t", expires_in=900, generation=1, session_id="ses_1")

    async def messages():
        async with httpx.AsyncClient(transport=answer) as http:
            return await OpenCodeClient(http=http).messages(access)

    assert asyncio.run(messages()) == [{"text": read}]
