"""The bench's own reckoning: what it finds wrong with an answer, and what that leads to."""

import re

import pytest

from bench.__main__ import verdict
from bench.calls import Call, count
from bench.daemon import Daemon
from bench.figures import Ratio, Times
from bench.meter import Units, units
from bench.past import write_past
from bench.picture import LABELS, draw
from bench.prices import Usage
from bench.report import replaced, table, titles
from bench.results import Comparison, Conditions, Crowd, Priced, Results, Tally
from bench.trace import spans
from bench.words import Verdict, judge

SHORT = Usage(
    seconds=1, gb_seconds=1, invocations=3, write_units=30, read_units=5, messages=10, connection_minutes=1 / 60
)
LONG = Usage(
    seconds=7, gb_seconds=7, invocations=3, write_units=90, read_units=5, messages=70, connection_minutes=7 / 60
)
WORDS = [f"word{n} " for n in range(1, 101)]


def results(text):
    times = Times.of([0.1, 0.2, 0.3])
    return Results(
        conditions=Conditions(
            date="2030-01-01 00:00", cores=2, load_before=0, load_after=1, python="3", opencode="1", commit="abc",
            command="make bench",
        ),
        words=100,
        comparisons={name: Comparison(bare=times, ours=times, aim=1.5) for name in LABELS},
        floor=times,
        empty=times,
        queries={"turn 500": times},
        tallies={"bare": Tally.of([judge("".join(WORDS), 100)]), "ours": Tally.of([judge(text, 100)])},
        memory={"bare OpenCode": 400},
        daemon=Daemon(idle=61.5, used=70, direct=times, passed_on=Times.of([0.2, 0.2015, 0.4])),
        calls={"short turn": {"DynamoDB": 12}},
        metered={"7 s": {"DynamoDB: write units": 90}},
        priced=Priced(seconds=60, measured=LONG, short=SHORT, aim=0.0015),
        crowd=Crowd(asked=100, tasks=100, errors=0, seconds=3),
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


def test_a_floor_is_taken_off_each_figure_from_its_like():
    """
    What the emulator takes of a slow turn is not what it takes of a usual one.
    """
    floor = Times(count=30, p50=10, p95=30, least=5, most=40)
    ours = Times(count=30, p50=110, p95=130, least=105, most=240)

    assert ours.without(floor) == Times(count=30, p50=100, p95=100, least=100, most=200)


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


@pytest.mark.parametrize(
    ("operation", "asked", "answered", "charged"),
    [
        ("GetItem", {"ConsistentRead": True}, {"Item": {"sk": {"S": "x" * 4096}}}, Units(reads=2)),
        ("GetItem", {}, {}, Units(reads=0.5)),
        # Of several in one call each is charged for itself.
        (
            "BatchGetItem",
            {"RequestItems": {"t": {"ConsistentRead": True}}},
            {"Responses": {"t": [{"sk": {"S": "x"}}, {"sk": {"S": "x" * 4096}}]}},
            Units(reads=3),
        ),
        # A page is charged for all of its items together.
        ("Query", {"ConsistentRead": True}, {"Items": [{"a": {"M": {"b": {"S": "x" * 99}}}}] * 100}, Units(reads=3)),
        ("UpdateItem", {}, {"ConsumedCapacity": {"CapacityUnits": 2.0}}, Units(writes=2)),
        (
            "TransactWriteItems",
            {"TransactItems": [{"Put": {}}, {"ConditionCheck": {}}]},
            {"ConsumedCapacity": [{"CapacityUnits": 8.0}]},
            Units(writes=10),
        ),
    ],
)
def test_request_units_of_reads_and_writes(operation, asked, answered, charged):
    """
    Reads by what came back, writes as they were told, and checks of a transaction as writes.
    """
    assert units(operation, asked, answered) == charged


def test_what_a_turn_uses():
    """
    The frame that asks is a message and an invocation too; sandbox_ctl runs for as long as its caller waits.
    """
    lambdas, connections = "Lambda", "ApiGatewayManagementApi"
    calls = [
        Call(function=function, service=service, operation=operation, began=began, seconds=seconds)
        for function, service, operation, began, seconds in [
            ("chat-socket", "DynamoDB", "GetItem", 0, 0.5),
            ("chat-socket", lambdas, "Invoke", 1, 0.5),
            ("chat-turn", lambdas, "Invoke", 2, 1),
            ("sandbox-ctl", "DynamoDB", "GetItem", 2.5, 0.25),
            ("chat-turn", connections, "PostToConnection", 31, 1),
        ]
    ]

    used = Usage.of(calls, Units(writes=5, reads=2), {"chat-socket": 1024, "chat-turn": 512, "sandbox-ctl": 2048})

    assert (used.seconds, used.connection_minutes) == (30, 0.5)
    assert used.gb_seconds == 1.5 + 15 + 2
    assert (used.invocations, used.messages, used.write_units, used.read_units) == (3, 2, 5, 2)


def test_a_turn_is_scaled_but_for_what_a_short_one_uses_too():
    """
    Ten writes a second in between, and thirty whatever its length; the dollars follow the list prices.
    """
    minute = LONG.lasting(60, SHORT)

    assert (minute.seconds, minute.invocations) == (60, 3)
    assert minute.write_units == pytest.approx(30 + 10 * 59)
    assert minute.costs()["write_units"] == pytest.approx(620 * 0.625e-6)
    assert minute.dollars == pytest.approx(
        60 * 13.3334e-6 + 3 * 0.2e-6 + 620 * 0.625e-6 + 5 * 0.125e-6 + 600 * 1e-6 + 0.25e-6
    )


def test_a_written_past_is_what_turns_leave(turns, messages):
    """
    Questions and answers in their order, and no turn under way.
    """
    write_past(turns, messages, "t", 3)

    texts = [message.text() for message in messages.list("t")]
    assert texts == ["say this is turn 0", "this is turn 0", "say this is turn 1", "this is turn 1",
                     "say this is turn 2", "this is turn 2"]  # fmt: skip
    assert turns.find("t").state == "ended"
    assert turns.outcome("t", "past-2") == (5, "completed")
    assert turns.unended() == []


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
    assert "scaled to 60 s" in new
    assert "| added to a call, p50, ms | **1.5** | ≤ 3 |" in new
    assert titles(found).keys() == LABELS.keys()
    assert re.search(r">1\.00<", draw(found))
