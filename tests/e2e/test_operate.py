"""What operators find afterwards on the deployed stack: who did what, and what belongs together."""

import json

import pytest

from local.stack.aws_clients import client
from tests.waiting import eventually
from threadbox.identifiers import opaque_hash, thread_hash


@pytest.fixture
def logs(stack):
    return client("logs", stack.aws_url)


def lines(logs, group):
    """Return the lines of JSON in a log group."""
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    messages = (event["message"].strip() for page in pages for event in page["events"])
    return [json.loads(message) for message in messages if message.startswith("{")]


def test_turn_is_followed_to_the_sandbox_and_what_was_done_is_on_record(stack, stack_state, thread, logs):
    """By one id, which the answer's message shows; the trail outlives the thread, and names neither it nor its user."""
    with thread.tab() as tab:
        request = tab.ask("say fine")
        assert "completed" == tab.answer(request).outcome
    ran = thread.http.post(f"/api/sandbox/{thread.name}/exec", json={"command": "echo canary-of-a-command"})
    assert 200 == ran.status_code
    thread.http.post(f"/agents/chat/{thread.name}/tool-policy", json={"policy": "none"}).raise_for_status()
    known = thread_hash(request)
    assert f"asst_{known}" == thread.messages()[-1]["id"]
    assert any(f" {known} " in log.read_text(errors="replace") for log in stack_state.glob("sandboxes/*/log"))
    thread.http.delete(f"/api/sandbox/{thread.name}").raise_for_status()
    eventually(lambda: thread.http.delete(f"/api/threads/{thread.name}").status_code == 200)

    def functions():
        groups = logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
        found = [line for group in groups for line in lines(logs, group["logGroupName"])]
        ours = [line for line in found if line.get("correlation_id") == known]
        return {line["function_name"].rpartition("threadbox-")[2] for line in ours}

    eventually(lambda: {"chat-socket", "chat-turn", "sandbox-ctl"} <= functions())

    trail = lines(logs, stack.outputs["AuditLogGroupName"])
    whose = (thread_hash(thread.name), opaque_hash("ann"))
    assert ["socket_opened", "command_run", "tool_policy_changed", "sandbox_stopped", "thread_deleted"] == [
        line["action"] for line in sorted(trail, key=lambda line: line["at"]) if (line["thread"], line["user"]) == whose
    ]
    assert thread.name not in str(trail)
    assert "canary" not in str(trail)
