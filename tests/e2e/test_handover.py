"""A turn that outlives its function: handed over, again and again, without anybody noticing."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic

import boto3
import pytest

from tests.e2e.turn_settings import FUNCTION, turn_settings
from tests.e2e.victims import kill, workers
from tests.waiting import eventually

# It changes the function that all others are answered by.
pytestmark = pytest.mark.long

WORDS = 300
TEXT = " ".join(f"word{n}" for n in range(1, WORDS + 1))


@pytest.fixture
def short_lived(stack) -> Iterator[None]:
    """Turn functions that hand over after three seconds."""
    with turn_settings(stack, HANDOVER_SECONDS=3):
        yield


@pytest.fixture
def unreported(stack) -> Iterator[None]:
    """Turn functions whose failure Lambda tells nobody."""
    client = boto3.client("lambda", endpoint_url=stack.aws_url)
    name = {"FunctionName": FUNCTION, "Qualifier": "$LATEST"}
    usual = client.get_function_event_invoke_config(**name)
    limits = {limit: usual[limit] for limit in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")}
    client.put_function_event_invoke_config(**name, **limits)
    yield
    client.put_function_event_invoke_config(**name, **limits, DestinationConfig=usual["DestinationConfig"])


def handovers(stack, thread_id: str) -> int:
    """Return how often the thread's turn was handed over, by the log of its function."""
    logs = boto3.client("logs", endpoint_url=stack.aws_url)
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{FUNCTION}")
    messages = "\n".join(event["message"] for page in pages for event in page["events"])
    return len(re.findall(rf'"turn handed over"[^\n]*"{thread_id}"', messages))


def test_long_answer_crosses_several_functions(stack, thread, short_lived):
    """No word is lost, doubled or out of order in any tab, and the whole is stored."""
    with thread.tab() as tab, thread.tab() as watching:
        tab.answer(tab.ask("say hello"))
        request = tab.ask(f"stream {WORDS} words every 50 ms")
        tab.until("text-delta")
        seen = watching.answer(request)
        answer = tab.answer(request)

    assert ("completed", "completed") == (answer.outcome, seen.outcome)
    assert TEXT.split() == seen.text.split()
    assert TEXT.split() == thread.texts()[3].split()
    assert seen.text.endswith(answer.text)
    assert 1 == seen.kinds().count("start") == seen.kinds().count("text-start")
    assert handovers(stack, thread.name) >= 3


def test_tabs_that_come_around_handovers_see_the_whole_answer(stack, thread, short_lived):
    """
    Whatever earlier functions sent is known to the later ones, and to whoever comes while one takes over from another.
    """
    with thread.tab() as tab, ExitStack() as opened:
        tab.answer(tab.ask("say hello"))
        request = tab.ask(f"stream {WORDS} words every 50 ms")
        tabs = []
        # With the one that asked, as many as a thread may have.
        for _ in range(9):
            tabs.append(opened.enter_context(thread.tab()))
            tabs[-1].probe()
            for _ in range(10):
                tab.until("text-delta")
        seen = [late.answer(request) for late in tabs]

    assert {TEXT} == {" ".join(answer.text.split()) for answer in seen}
    assert handovers(stack, thread.name) >= 3


def passed_on(answer) -> tuple[list[int], int]:
    """Return the numbers of the words that came, each once, and of how many frames words came twice."""
    numbers: list[int] = []
    last: list[int] = []
    repeated: set[int] = set()
    for chunk in answer.chunks:
        if chunk["type"] == "text-delta":
            frame = [int(word.removeprefix("word")) for word in chunk["delta"].split()]
            again = [number for number in frame if numbers and number <= numbers[-1]]
            assert set(again) <= set(last)
            repeated |= {last[0]} if again else set()
            new = frame[len(again) :]
            numbers += new
            last = new or last
    return numbers, len(repeated)


def test_answer_goes_on_when_its_function_is_killed(stack, thread):
    """
    Kill -9, three times in one answer: open sockets stay, and get one frame twice at most for each; late tabs and the
    store have it exactly. Too many kills end it in words, within 30 s, and the next message is answered.
    """
    with thread.tab() as tab, thread.tab() as watching:
        tab.answer(tab.ask("say hello"))
        request = tab.ask(f"stream {WORDS} words every 150 ms")
        for _ in range(3):
            for _ in range(15):
                tab.until("text-delta")
            kill(workers(stack, FUNCTION))
        with thread.tab() as late:
            late.probe()
            replayed = late.answer(request, seconds=60)
        answers = [tab.answer(request, seconds=60), watching.answer(request, seconds=60)]

        assert TEXT.split() == thread.texts()[3].split() == replayed.text.split()
        for answer in answers:
            numbers, repeated = passed_on(answer)
            assert repeated <= 3
            assert numbers == list(range(numbers[0], WORDS + 1))
            assert "completed" == answer.outcome

        request = tab.ask("slow 60: a long story")
        tab.until("text-delta")
        began = monotonic()
        for _ in range(4):
            kill(eventually(lambda: workers(stack, FUNCTION)))
        ended = tab.answer(request, seconds=30)
        assert ("error", True) == (ended.outcome, "interrupted" in ended.last["body"])
        assert monotonic() - began < 30
        assert "still here" == tab.answer(tab.ask("say still here")).text


def test_answer_goes_on_when_nobody_tells_of_its_functions_death(stack, thread, unreported):
    """The lease runs out, and the schedule finds that: the answer is whole within 90 s."""
    with thread.tab() as tab:
        tab.answer(tab.ask("say hello"))
        request = tab.ask(f"stream {WORDS} words every 30 ms")
        tab.until("text-delta")
        kill(workers(stack, FUNCTION))
        answer = tab.answer(request, seconds=90)

    assert "completed" == answer.outcome
    assert TEXT.split() == thread.texts()[3].split()


def test_ask_keeps_its_time_over_handovers(stack, thread):
    """However often the function changes while the agent waits, it waits no longer than it should."""
    with turn_settings(stack, HANDOVER_SECONDS=3, ASK_SECONDS=9), thread.tab() as tab:
        request = tab.ask("run: rm -rf nothing-of-that-name")
        tab.until("tool-approval-request")
        answer = tab.answer(request, seconds=40)

    assert "tool-output-denied" in answer.kinds()
    assert answer.outcome in ("completed", "aborted")
    assert handovers(stack, thread.name) >= 2
