"""AWS's limits on sockets, at the gateway of the deployed stack: what is over them ends, and no answer is lost."""

import json
from contextlib import ExitStack

import boto3
import pytest
from websockets.exceptions import ConnectionClosed

from tests.waiting import eventually

SECONDS = 30
PATIENCE = 90
QUESTIONS = 6


@pytest.fixture(scope="module")
def table(stack):
    return boto3.resource("dynamodb", endpoint_url=stack.aws_url).Table(stack.outputs["TableName"])


def closed(tab) -> int:
    """The code that the socket ends with."""
    with pytest.raises(ConnectionClosed) as caught:
        for _ in tab.frames(seconds=SECONDS):
            pass
    return caught.value.rcvd.code


def sockets(table, thread) -> int:
    """How many sockets of the thread the table knows."""
    found = table.query(
        KeyConditionExpression="thread_id = :thread AND begins_with(sk, :socket)",
        ExpressionAttributeValues={":thread": thread.name, ":socket": "SOCK#"},
    )
    return len(found["Items"])


@pytest.mark.parametrize("size", [33_000, 200_000])
def test_frame_over_the_limit_ends_the_socket(shared, size):
    """With 1009; nothing of it is taken, and the next socket works."""
    before = len(shared.messages())
    with shared.tab() as tab:
        tab.ask("x" * size)
        assert 1009 == closed(tab)

    assert before == len(shared.messages())
    with shared.tab() as tab:
        assert "still here" == tab.answer(tab.ask("say still here")).text


def test_idle_socket_is_closed_and_forgotten(shared, table):
    """Its row goes with it."""
    with shared.tab(rules="idle_seconds=1") as tab:
        assert 1001 == closed(tab)

    eventually(lambda: not sockets(table, shared))


def test_answer_outlives_its_socket(shared):
    """A socket that has lived too long ends in the middle of an answer; the next one gets that from its beginning."""
    with shared.tab(rules="life_seconds=5") as tab:
        request = tab.ask("stream 120 words every 100 ms")
        assert 1001 == closed(tab)

    with shared.tab() as tab:
        tab.send({"type": "cf_agent_stream_resume_request", "probeId": "p"})
        offer = tab.until_frame("cf_agent_stream_resuming")
        tab.send({"type": "cf_agent_stream_resume_ack", "id": offer["id"]})
        answer = tab.answer(request)

    assert ("completed", shared.texts()[-1]) == (answer.outcome, answer.text)
    assert answer.text.split() == [f"word{number}" for number in range(1, 121)]


@pytest.mark.parametrize("seed", range(1, 4))
def test_every_request_ends_however_its_frames_are_shuffled(shared, seed):
    """Questions, stops and probes of two tabs, in parallel and out of order: all are kept, and none waits for ever."""
    with ExitStack() as opened:
        rules = f"disorder={seed}&disorder_seconds=1"
        tabs = [opened.enter_context(shared.tab(rules=rules)) for _ in range(2)]
        requests = []
        for number in range(QUESTIONS):
            tab = tabs[number % 2]
            requests.append(tab.ask(f"say {seed}/{number}"))
            tab.send({"type": "cf_agent_stream_resume_request", "probeId": f"p{number}"})
            if number % 3 == 1:
                tab.stop(requests[-1])
        ended = [ended_on(tab, requests[place::2]) for place, tab in enumerate(tabs)]

    assert {request for each in ended for request in each} == set(requests)
    assert {f"say {seed}/{number}" for number in range(QUESTIONS)} <= set(shared.texts())


def ended_on(tab, requests) -> set[str]:
    """Read, and take what is offered, until the tab knows that each of its requests has ended."""
    waiting = set(requests)
    for frame in tab.frames(seconds=PATIENCE):
        if frame["type"] == "cf_agent_stream_resuming":
            tab.send({"type": "cf_agent_stream_resume_ack", "id": frame["id"]})
        if frame["type"] == "cf_agent_use_chat_response" and frame["done"]:
            waiting.discard(frame["id"])
        if not waiting:
            return set(requests)
    raise AssertionError("unreachable")


def test_frames_of_a_long_output_fit_and_the_whole_is_stored(shared):
    """What a command puts out is shortened in the frame, with a mark, and in full with the messages."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("run: printf 'x%.0s' $(seq 1 40000)"))

    assert max(len(frame.encode()) for frame in tab.received) <= 32_000
    (shown,) = [
        chunk for chunk in answer.chunks if chunk["type"] == "tool-output-available" and "preliminary" not in chunk
    ]
    (stored,) = [part for part in shared.messages()[-1]["parts"] if part["type"] == "tool-bash"]
    assert "(shortened)" in shown["output"]["output"]
    assert shown["output"]["truncated"]
    assert "(shortened)" not in json.dumps(stored)
    assert len(stored["output"]["output"]) > len(shown["output"]["output"])


def test_history_that_does_not_fit_is_announced(shared):
    """Another tab is told to get the messages, rather than nothing, or some of them."""
    with shared.tab() as asking, shared.tab() as watching:
        first = asking.ask("say " + "long" * 5_000)
        frames_until(watching, first)
        asking.answer(first)
        came = frames_until(watching, asking.ask("say short"))

    noticed = [json.loads(frame["body"])["type"] for frame in came if frame.get("done") and frame["body"]]
    assert noticed == ["data-history"] * 2
    assert "cf_agent_chat_messages" not in [frame["type"] for frame in came]


def frames_until(tab, request):
    """The frames up to the end of the request."""
    came = []
    for frame in tab.frames():
        came.append(frame)
        if frame.get("id") == request and frame.get("done"):
            return came
    raise AssertionError("unreachable")
