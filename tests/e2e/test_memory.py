"""What outlives a sandbox: work, kill, start again, on the deployed stack with the real OpenCode."""

import json

import boto3
import pytest

from tests.e2e.victims import kill, sandboxd_of
from tests.waiting import eventually
from threadbox.identifiers import thread_hash

SAVE_SECONDS = 90


@pytest.fixture
def kept(stack, thread):
    """Return the keys of the manifests that are kept of the thread, the oldest first."""
    bucket = boto3.resource("s3", endpoint_url=stack.aws_url).Bucket(stack.outputs["SandboxBucketName"])

    def keys():
        found = bucket.objects.filter(Prefix=f"snapshots/{thread_hash(thread.name)}/")
        return sorted(entry.key for entry in found if entry.key.endswith("/manifest.json"))

    return keys


def lost(answer):
    return [chunk for chunk in answer.chunks if chunk["type"] == "data-sandbox" and chunk["data"].get("context_lost")]


def test_killed_sandbox_is_replaced_by_one_that_remembers(thread, stack, kept):
    """Files and conversation are there, and the user is told of no loss; deleting the thread deletes what was kept."""
    with thread.tab() as tab:
        tab.answer(tab.ask("run: mkdir -p notes && echo kept > notes/a && ln -s a notes/b && chmod 700 notes/a"))
        eventually(kept, seconds=SAVE_SECONDS)
        kill([sandboxd_of(stack, thread.name)])
        first = tab.answer(tab.ask("what did I say first?"))
        assert [] == lost(first)
        assert "run: mkdir -p notes" in first.text
        shown = tab.answer(tab.ask("run: cat notes/b && stat -c %a notes/a"))

    output = json.dumps([chunk for chunk in shown.chunks if chunk["type"] == "tool-output-available"])
    assert all(word in output for word in ("kept", "700"))
    assert 2 == thread.sandbox()["generation"]
    removed = thread.http.delete(f"/api/threads/{thread.name}").raise_for_status().json()["removed"]
    assert removed["memory"] >= 1
    assert [] == kept()
    eventually(lambda: thread.sandbox()["state"] == "stopped", seconds=60)
    assert [] == kept()


def test_stopped_sandbox_saves_what_it_has_not_yet(thread, kept):
    """Its user stops it right after an answer; the next one has it all."""
    with thread.tab() as tab:
        tab.answer(tab.ask("say one"))
        tab.answer(tab.ask("run: echo late > late"))
        thread.http.delete(f"/api/sandbox/{thread.name}").raise_for_status()
        eventually(lambda: thread.sandbox()["state"] == "stopped", seconds=60)
        assert kept()
        shown = tab.answer(tab.ask("run: cat late"))
        counted = tab.answer(tab.ask("how many messages?"))

    assert [] == lost(shown)
    assert "late" in json.dumps(shown.chunks)
    assert "You have sent 4 messages in this conversation." == counted.text
