"""A turn that outlives its function: handed over, again and again, without anybody noticing."""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import boto3
import pytest

from tests.e2e.turn_settings import FUNCTION, turn_settings

# It changes the function that all others are answered by.
pytestmark = pytest.mark.long

WORDS = 300
TEXT = " ".join(f"word{n}" for n in range(1, WORDS + 1))


@pytest.fixture
def short_lived(stack) -> Iterator[None]:
    """Turn functions that hand over after three seconds."""
    with turn_settings(stack, HANDOVER_SECONDS=3):
        yield


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
        for _ in range(12):
            tabs.append(opened.enter_context(thread.tab()))
            tabs[-1].probe()
            for _ in range(8):
                tab.until("text-delta")
        seen = [late.answer(request) for late in tabs]

    assert {TEXT} == {" ".join(answer.text.split()) for answer in seen}
    assert handovers(stack, thread.name) >= 3


def test_ask_keeps_its_time_over_handovers(stack, thread):
    """However often the function changes while the agent waits, it waits no longer than it should."""
    with turn_settings(stack, HANDOVER_SECONDS=3, ASK_SECONDS=9), thread.tab() as tab:
        request = tab.ask("run: rm -rf nothing-of-that-name")
        tab.until("tool-approval-request")
        answer = tab.answer(request, seconds=40)

    assert "tool-output-denied" in answer.kinds()
    assert answer.outcome in ("completed", "aborted")
    assert handovers(stack, thread.name) >= 2
