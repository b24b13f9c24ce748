"""What operators see: each outcome leaves one line and its metrics, and all that is watched is emitted."""

import ast
import json
import re
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

from chat.outcomes import first_token, frames_posted, turn_ended
from chat.records import TurnRecord
from chat.turn import Turn, TurnState
from oauth_proxy.outcomes import signin_ended, signin_superseded
from oauth_proxy.signin import Status
from sandbox_ctl.lifecycle import Detail
from tests.operators import emitted, logged
from threadbox.errors import AppError, ModelUnauthorizedError, OpenCodeError, RateLimitedError, SandboxNotEnabledError
from threadbox.measures import MEASURES, OUTCOMES, PHASES, SIGNIN_OUTCOMES, emit

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("functions/*/src/*/*.py"), *ROOT.glob("layers/common/src/threadbox/*.py")]
TURN = Turn(
    thread_id="t", request_id="r", state=TurnState.RUNNING, seq=1, connection_id="c", begun_ms=1_000_000, takeovers=1
)
RECORD = TurnRecord(ttft_ms=700, answered_by="demo/demo", tokens={"inputTokens": 11, "outputTokens": 5})


def test_ended_turn_leaves_a_line_and_its_metrics(output):
    """How it ended, how long it took, what it cost in tokens; what has many values is in the line alone."""
    turn_ended(TURN, "completed", now=1_002.5, record=RECORD)

    out = output()
    (line,) = logged(out, "turn ended")
    assert ("t", "r", "completed", 2500, 700) == tuple(
        line[name] for name in ("thread_id", "request_id", "outcome", "duration_ms", "ttft_ms")
    )
    assert [
        ("Turns", {"outcome": "completed"}, 1.0),
        ("TurnFailures", {}, 0.0),
        ("InputTokens", {}, 11.0),
        ("OutputTokens", {}, 5.0),
    ] == emitted(out)


@pytest.mark.parametrize(
    ("error", "outcome", "failed"),
    [
        (OpenCodeError("x"), "error", 1.0),
        (AppError("x"), "error", 1.0),
        (RateLimitedError("x"), "refused", 0.0),
        (SandboxNotEnabledError("x"), "refused", 0.0),
        (ModelUnauthorizedError("x"), "refused", 0.0),
    ],
)
def test_turn_that_is_refused_is_no_failure(output, error, outcome, failed):
    """What the user, the operators' limits or an account decide does not count against what is promised."""
    turn_ended(TURN, "error", now=1_001, error=error)

    out = output()
    assert [("Turns", {"outcome": outcome}, 1.0), ("TurnFailures", {}, failed)] == emitted(out)
    assert error.code == logged(out, "turn ended")[0]["code"]


def test_first_token_is_told_apart_by_whether_a_sandbox_was_started(output):
    """The wait for a start is another thing than that for a model."""
    first_token(800, started=False)
    first_token(60_000, started=True)

    assert [
        ("TimeToFirstToken", {"sandbox": "running"}, 800.0),
        ("TimeToFirstToken", {"sandbox": "started"}, 60_000.0),
    ] == emitted(output())


def test_frames_are_counted_once_per_function(output):
    """One number for all of them, and none for none."""
    frames_posted(0)
    frames_posted(1234)

    assert [("FramesPosted", {}, 1234.0)] == emitted(output())


@pytest.mark.parametrize("status", [status for status in Status if status not in (Status.PENDING, Status.SUPERSEDED)])
def test_ended_sign_in_leaves_a_line_and_its_metrics(output, status):
    """However it ended; only what a sandbox fails in is a failure of ours."""
    signin_ended(SimpleNamespace(thread_id="t", attempt_id="a", created_at=10), status, now=12)

    out = output()
    (line,) = logged(out, "signin ended")
    assert ("a", status, 2000) == (line["attempt_id"], line["outcome"], line["duration_ms"])
    assert [("SignIns", {"outcome": status}, 1.0), ("SignInFailures", {}, float(status == "failed"))] == emitted(out)


def test_superseded_sign_in_is_an_end_too(output):
    """That of the attempt before."""
    signin_superseded(SimpleNamespace(thread_id="t", previous_id="old"))

    out = output()
    assert "old" == logged(out, "signin ended")[0]["attempt_id"]
    assert ("SignIns", {"outcome": "superseded"}, 1.0) in emitted(out)


def test_values_of_dimensions_are_those_of_the_code():
    """A phase, or an end of a sign-in, that is new is a metric more."""
    assert set(Detail) - {Detail.READY} == set(PHASES)
    assert set(Status) - {Status.PENDING} == set(SIGNIN_OUTCOMES)
    assert {"completed", "aborted", "error", "refused"} == set(OUTCOMES)


@pytest.mark.parametrize(
    ("values", "dimensions"),
    [({"Turns": 1}, {}), ({"Turns": 1}, {"outcome": "odd"}), ({"Orphans": 1}, {"thread": "t"})],
)
def test_metric_with_another_dimension_is_refused(values, dimensions):
    """Each value is a metric that is paid for by the month; a thread or a user is never one."""
    with pytest.raises(ValueError, match="dimensions"):
        emit(values, **dimensions)
    with pytest.raises(KeyError):
        emit({"Unknown": 1})


def test_service_is_no_dimension(output):
    """An alarm names all dimensions of its metric; Powertools would add the service, and no alarm would ever see it."""
    emit({"Orphans": 2})

    (line,) = map(json.loads, output().splitlines())
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert ("Threadbox", [[]]) == (directive["Namespace"], directive["Dimensions"])


def test_every_metric_is_emitted_somewhere():
    """None is promised that nobody emits."""
    named = {
        node.value
        for path in SOURCES
        if path.name != "measures.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in MEASURES
    }
    assert set(MEASURES) == named


def test_metrics_are_few_and_their_number_is_what_the_costs_say():
    """CloudWatch charges for each combination of a name and its dimension's value."""
    combinations = sum(len(list(product(*measure.dimensions.values()))) for measure in MEASURES.values())
    said = re.search(r"\*\*(\d+) metrics\*\*", (ROOT / "docs" / "cost.md").read_text())
    assert said is not None
    assert combinations == int(said[1])
    assert combinations <= 40
