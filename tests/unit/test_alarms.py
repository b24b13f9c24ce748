"""Alarms, the dashboard, the runbook and the questions for the logs: each speaks of what there is."""

import ast
import json
import re
from pathlib import Path

import pytest

from threadbox.measures import MEASURES

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
OPERATE = (ROOT / "docs" / "operate.md").read_text()
OWN = {"Sub": "Threadbox/${AWS::StackName}"}
FUNCTION = "AWS::Serverless::Function"
AWS_OWN = {
    "AWS/Lambda": {"Errors", "Throttles", "Duration", "AsyncEventsDropped"},
    "AWS/States": {"ExecutionsFailed"},
    "AWS/ApiGateway": {"Count", "4xx", "5xx", "ConnectCount", "MessageCount", "IntegrationError", "ExecutionError"},
    "AWS/DynamoDB": {
        "ConsumedReadCapacityUnits",
        "ConsumedWriteCapacityUnits",
        "ReadThrottleEvents",
        "WriteThrottleEvents",
    },
}
"""Metrics of AWS's own that we rely on, as its documentation names them."""
STANDARD = {"timestamp", "level", "location", "service", "function_name", "function_request_id", "cold_start"} | {
    "xray_trace_id",
    "correlation_id",
    "message",
    "exception",
    "exception_name",
}
"""What Powertools' Logger puts into every line, or into one of an exception."""


def of_type(template, kind):
    return {name: item for name, item in template["Resources"].items() if item["Type"] == kind}


@pytest.fixture
def alarms(template):
    return {name: item["Properties"] for name, item in of_type(template, "AWS::CloudWatch::Alarm").items()}


def test_every_alarm_has_a_section_in_the_runbook(alarms):
    """And every such section an alarm: whoever is woken finds what to do under the name that woke them."""
    headings = re.findall(r"^## Alarm: (.+)$", RUNBOOK, re.MULTILINE)
    named = [name for heading in headings for name in heading.split(", ")]

    assert {name.removesuffix("Alarm") for name in alarms} == set(named)
    assert len(named) == len(set(named))
    for name, alarm in alarms.items():
        assert f"(docs/runbook.md, Alarm: {name.removesuffix('Alarm')})" in alarm["AlarmDescription"]


def test_every_alarm_watches_a_metric_there_is(alarms):
    """One of ours, with the very dimensions it is emitted with, without which it is never seen; or one of AWS's own."""
    for name, alarm in alarms.items():
        if alarm["Namespace"] == OWN:
            measure = MEASURES[alarm["MetricName"]]
            dimensions = {item["Name"]: item["Value"] for item in alarm.get("Dimensions", [])}
            assert dimensions.keys() == measure.dimensions.keys(), name
            assert all(value in measure.dimensions[key] for key, value in dimensions.items()), name
        else:
            assert alarm["MetricName"] in AWS_OWN[alarm["Namespace"]], name
            assert alarm["Dimensions"], name


def test_namespace_is_the_stacks_own(template):
    """Two stacks of one account do not raise each other's alarms."""
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    assert OWN == variables["POWERTOOLS_METRICS_NAMESPACE"]


def test_every_function_is_watched(template, alarms):
    """Its errors, and that Lambda refuses it, does not begin it, or that it needs more time than it has."""
    watched = {}
    for alarm in alarms.values():
        for dimension in alarm.get("Dimensions", []):
            if dimension["Name"] == "FunctionName":
                watched.setdefault(dimension["Value"]["Ref"], set()).add(alarm["MetricName"])
    assert set(of_type(template, FUNCTION)) == set(watched)
    assert all("Errors" in metrics for metrics in watched.values())
    # A step that was refused is tried again by its machine, whose breakdown has an alarm.
    del watched["OauthStepFunction"]
    assert all(metrics & {"Throttles", "Duration"} for metrics in watched.values())


def test_every_alarm_tells_somebody(alarms):
    """By one topic, the stack's own or the operators'."""
    action = {"If": ["HasAlarmTopic", {"Ref": "AlarmTopicArn"}, {"Ref": "AlarmTopic"}]}
    assert all([action] == alarm["AlarmActions"] for alarm in alarms.values())


def test_silence_is_good_news_but_of_what_must_be_heard(alarms):
    """Nobody chats at night; the sweeper comes every five minutes."""
    silent = {name for name, alarm in alarms.items() if alarm["TreatMissingData"] != "notBreaching"}
    assert {"SweeperSilentAlarm"} == silent


def test_nothing_that_costs_is_made_unasked(template):
    """A budget and a subscription exist only where somebody named an amount or an address."""
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    assert ("", "", 0) == (defaults["AlarmEmail"], defaults["AlarmTopicArn"], defaults["MonthlyBudget"])
    assert "HasBudget" == template["Resources"]["MonthlyCosts"]["Condition"]
    assert "HasAlarmEmail" == template["Resources"]["AlarmSubscription"]["Condition"]


@pytest.fixture
def widgets(template):
    body = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Sub"]
    return json.loads(body)["widgets"]


def test_dashboard_shows_metrics_there_are(template, widgets):
    """With their dimensions; and every one of ours is shown."""
    shown = set()
    for widget in widgets:
        for namespace, name, *rest in widget["properties"].get("metrics", []):
            words = [word for word in rest if isinstance(word, str)]
            dimensions = dict(zip(words[::2], words[1::2], strict=True))
            if namespace == OWN["Sub"]:
                measure = MEASURES[name]
                assert dimensions.keys() == measure.dimensions.keys(), name
                assert all(value in measure.dimensions[key] for key, value in dimensions.items()), name
                shown.add(name)
            else:
                assert name in AWS_OWN[namespace], name
                (value,) = dimensions.values()
                assert value.strip("${}") in template["Resources"]
    assert set(MEASURES) == shown


def _logged():
    """Return the messages that the code logs, and the fields of its lines."""
    messages, fields = set(), set(STANDARD)
    for path in [*ROOT.glob("functions/*/src/*/*.py"), *ROOT.glob("layers/common/src/threadbox/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if ast.unparse(node.func.value) == "logger" and node.func.attr in {"info", "warning", "error", "exception"}:
                messages |= {said.value for said in node.args if isinstance(said, ast.Constant)}
                fields |= {keyword.arg for keyword in node.keywords if keyword.arg}
            if ast.unparse(node.func) == "logger.append_keys":
                fields |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return messages, fields


AUDITED = {"at", "action", "thread", "user", "correlation_id", "background", "policy", "exec_id", "replaced"}
WORDS = set(re.findall(r"\w+", "as and asc avg by count desc fields filter in like limit not or pct sort stats sum"))


def queries():
    found = re.findall(r"```insights\n(.+?)```", OPERATE, re.DOTALL)
    assert found
    return found


@pytest.mark.parametrize("query", queries())
def test_question_for_the_logs_finds_what_the_code_logs(query):
    """Its fields are those of lines that are written, its messages those of the code."""
    messages, fields = _logged()
    known = AUDITED if query.startswith("# audit") else fields
    text = re.sub(r"^#.*$", "", query, flags=re.MULTILINE)
    asked = re.findall(r"message (?:=|in) (\[[^]]*\]|\"[^\"]*\")", text)
    for said in asked:
        assert set(re.findall(r'"([^"]*)"', said)) <= messages
    bare = re.sub(r'"[^"]*"', "", text)
    aliases = set(re.findall(r"\bas (\w+)", bare))
    names = set(re.findall(r"(?<![@\w.])([A-Za-z_]\w*)(?:\.\w+)*", bare)) - WORDS - aliases - {"bin"}
    names = {name for name in names if not re.fullmatch(r"\d+[smhd]", name)}
    assert names <= known, names - known


def test_objectives_are_measured_by_metrics_there_are():
    """Each objective names its metric, its statistic and, where it has one, its dimension."""
    rows = re.findall(r"^\| .+ \| `(\w+)(?:\{(\w+)=(\w+)\})?` \|", OPERATE, re.MULTILINE)
    assert len(rows) >= 5
    for name, dimension, value in rows:
        measure = MEASURES[name]
        assert ({dimension} if dimension else set()) == set(measure.dimensions), name
        assert not value or value in measure.dimensions[dimension], name
