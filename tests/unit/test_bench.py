"""The bench's own reckoning: what it finds wrong with an answer, and what that leads to."""

import re

import pytest

from bench.__main__ import verdict
from bench.calls import Call, count
from bench.figures import Ratio, Times
from bench.picture import draw
from bench.report import replaced, table
from bench.results import Comparison, Conditions, Results, Tally
from bench.trace import spans
from bench.words import Verdict, judge

WORDS = [f"word{n} " for n in range(1, 101)]


def results(text):
    times = Times.of([0.1, 0.2, 0.3])
    names = ("first delta", "last delta", "new thread", "three tabs, first delta", "three tabs, last delta")
    return Results(
        conditions=Conditions(
            date="2030-01-01 00:00", cores=2, load_before=0, load_after=1, python="3", opencode="1", commit="abc",
            command="make bench",
        ),
        words=100,
        comparisons={name: Comparison(bare=times, ours=times, aim=1.5) for name in names},
        floor=times,
        tallies={"bare": Tally.of([judge("".join(WORDS), 100)]), "ours": Tally.of([judge(text, 100)])},
        memory={"bare OpenCode": 400},
        calls={"short turn": {"DynamoDB": 12}},
        trace={"socket": 10.0, "received": 5.0},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("doctored", "wrong"),
    [
        (WORDS[:50] + WORDS[51:], Verdict(lost=1)),
        (WORDS[:50] + WORDS[49:], Verdict(doubled=1)),
        ([*WORDS[:50], WORDS[51], WORDS[50], *WORDS[52:]], Verdict(reordered=1)),
        (WORDS[:99], Verdict(lost=1)),
        ([*WORDS, "word101 "], Verdict(foreign=1)),
        ([*WORDS[:50], "word5", "1 2 ", *WORDS[51:]], Verdict(foreign=1)),
    ],
)
def test_a_doctored_stream_fails_the_build(doctored, wrong):
    """
    One word lost, doubled, moved or foreign is found, and ends the bench with 1.
    """
    assert judge("".join(doctored), 100) == wrong
    assert verdict(results("".join(doctored))) == 1


def test_a_whole_stream_passes():
    """
    Words that came once and in order are fine, however they were cut.
    """
    assert judge("".join(WORDS), 100).intact
    assert verdict(results("".join(WORDS))) == 0


def test_a_run_without_long_answers_fails():
    """
    Nothing wrong because nothing was looked at is no success.
    """
    unseen = results("").model_copy(update={"tallies": {"ours": Tally.of([])}})

    assert verdict(unseen) == 1


def test_percentiles_are_measured_values():
    """
    p50 and p95 by nearest rank, in milliseconds; a ratio compares like with like.
    """
    times = Times.of([n / 1000 for n in range(1, 31)])

    assert (times.p50, times.p95, times.least, times.most) == (15, 29, 1, 30)
    assert Ratio.of(times, Times.of([0.01])) == Ratio(p50=1.5, p95=2.9)


def test_calls_are_counted_by_kind_and_operation():
    """
    Posts are one kind; the rest also says which function asked for what.
    """
    made = [
        Call(function="chat-turn", service=service, operation=operation, began=0, seconds=0)
        for service, operation in [
            ("DynamoDB", "Query"), ("DynamoDB", "PutItem"), ("ApiGatewayManagementApi", "PostToConnection"),
        ]
    ]  # fmt: skip

    assert count(made) == {
        "@connections": 1,
        "DynamoDB": 2,
        "DynamoDB PutItem (chat-turn)": 1,
        "DynamoDB Query (chat-turn)": 1,
    }


def test_a_point_that_was_not_seen_joins_its_neighbours_spans():
    """
    Spans add up to the whole way, whatever is missing on it.
    """
    whole = {"socket": 0.01, "claimed": 0.03, "turn": 0.06, "received": 0.1}
    partial = {name: at for name, at in whole.items() if name != "claimed"}

    assert spans([whole, whole]) == {"socket": 10, "claimed": 20, "turn": 30, "received": 40}
    assert spans([whole, partial]) == {"socket": 10, "turn": 50, "received": 40}


def test_the_report_replaces_what_stands_between_the_marks():
    """
    The note's own words stay; the table and the picture show the ratios.
    """
    found = results("".join(WORDS))
    note = "before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n"

    new = replaced(note, table(found))

    assert new.startswith("before\n")
    assert new.endswith("\nafter\n")
    assert "old" not in new
    assert "**1.00**" in new
    assert re.search(r">1\.00<", draw(found))
