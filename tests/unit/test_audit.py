"""The audit trail, on CloudWatch Logs as moto has it, and who records what there."""

import json
import time

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from tests.operators import emitted, logged
from threadbox.audit import AuditTrail
from threadbox.identifiers import opaque_hash, thread_hash
from threadbox.telemetry import correlate

GROUP = "audit"


@pytest.fixture
def logs(aws):
    client = boto3.client("logs")
    client.create_log_group(logGroupName=GROUP)
    return client


@pytest.fixture
def trail(logs, clock):
    # CloudWatch Logs takes nothing that is older than two weeks, by its own clock.
    clock.time = float(int(time.time()))
    return AuditTrail(client=lambda: logs, group=GROUP, stream="chat/1", now=clock)


def kept(logs):
    found = logs.filter_log_events(logGroupName=GROUP)["events"]
    return [json.loads(event["message"]) for event in found]


def test_line_says_who_did_what_in_hashes(trail, logs, clock):
    """The stream is made with the first line; neither thread nor user is named."""
    correlate("abc")
    trail.record("thread_deleted", thread_id="thread-of-ann", user_id="ann@example.org")
    trail.record("tool_policy_changed", thread_id="thread-of-ann", user_id="ann@example.org", policy="none")

    whose = {"thread": thread_hash("thread-of-ann"), "user": opaque_hash("ann@example.org"), "correlation_id": "abc"}
    at = {"at": int(clock.time * 1000)}
    assert [
        {**at, "action": "thread_deleted", **whose},
        {**at, "action": "tool_policy_changed", **whose, "policy": "none"},
    ] == kept(logs)


def test_two_functions_add_to_it_at_once(trail, logs, clock):
    """Each has a stream of its own; one that somebody has made meanwhile is used."""
    other = AuditTrail(client=lambda: logs, group=GROUP, stream="oauth_proxy/1", now=clock)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="chat/1")
    trail.record("socket_opened", thread_id="t", user_id="u")
    other.record("codex_connected", thread_id="t", user_id="u", replaced=False)

    assert {"socket_opened", "codex_connected"} == {line["action"] for line in kept(logs)}


class Refusing:
    """CloudWatch Logs that takes nothing."""

    def __init__(self, error):
        self.error = error

    def put_log_events(self, **_request):
        raise self.error

    create_log_stream = put_log_events


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutLogEvents"),
        ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "PutLogEvents"),
        ConnectTimeoutError(endpoint_url="https://logs"),
    ],
)
def test_line_that_is_not_taken_is_not_lost_and_raises_an_alarm(output, error):
    """It stands in the function's own log, is counted, and the user's call goes on."""
    trail = AuditTrail(client=lambda: Refusing(error), group=GROUP, stream="chat/1")
    trail.record("command_run", thread_id="t", user_id="u", background=True)

    out = output()
    (line,) = logged(out, "audit line not taken")
    assert ("command_run", True) == (line["line"]["action"], line["line"]["background"])
    assert [("AuditFailures", {}, 1.0)] == emitted(out)


def test_functions_may_add_to_the_trail_and_nothing_more(template):
    """Those that have something to record; none may delete or shorten what is kept, in this group or another."""
    allowed = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            for policy in resource["Properties"]["Policies"]:
                for statement in policy.get("Statement", []):
                    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                    if any(action.startswith("logs:") for action in actions):
                        assert {"GetAtt": "AuditLogGroup.Arn"} == statement["Resource"]
                        allowed[name] = set(actions)

    recording = {"ChatHttp", "ChatSocket", "OauthHttp", "OauthStep", "SandboxCtl"}
    assert {f"{name}Function" for name in recording} == set(allowed)
    assert all({"logs:CreateLogStream", "logs:PutLogEvents"} == actions for actions in allowed.values())


def test_trail_outlives_stack_and_is_kept_longer_than_a_year(template):
    """Deleting the stack leaves it."""
    group = template["Resources"]["AuditLogGroup"]
    assert ("RetainExceptOnCreate", "Retain") == (group["DeletionPolicy"], group["UpdateReplacePolicy"])
    assert template["Parameters"]["AuditRetentionDays"]["Default"] >= 365
