"""A conversation across a stop and a start of everything it runs on."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from local.stack.aws_clients import client
from local.stack.stack_file import StackFile
from tests.browser.composing import START_MS, send
from tests.stacks import run_stack, stack_file
from tests.waiting import eventually

pytestmark = pytest.mark.long

PATIENCE_MS = 90_000


def _kept(stack: StackFile) -> bool:
    bucket = client("s3", stack.aws_url).list_objects_v2(Bucket=stack.outputs["SandboxBucketName"])
    return any(entry["Key"].endswith("/manifest.json") for entry in bucket.get("Contents", []))


@pytest.mark.timeout(600)
def test_conversation_goes_on_when_everything_was_stopped_and_started_again(page: Page, state: Path) -> None:
    """The open page comes back to it by itself; a new sandbox answers, and knows what was said before."""
    assert run_stack("up", state=state).returncode == 0
    page.goto(stack_file(state).web_url)
    send(page, "say good morning")
    answer = page.get_by_label("Answer")
    expect(answer).to_have_text("good morning", timeout=START_MS)
    expect(page.get_by_role("button", name="Send")).to_be_visible()

    eventually(lambda: _kept(stack_file(state)), seconds=PATIENCE_MS / 1000)
    # A page that has been open for long asks for a new session when its connection is refused.
    page.evaluate("const now = Date.now; Date.now = () => now() + 60_000")
    assert run_stack("down", state=state).returncode == 0
    lost = page.get_by_text("The connection is lost")
    expect(lost).to_be_visible()
    assert run_stack("up", state=state).returncode == 0
    expect(lost).to_be_hidden(timeout=PATIENCE_MS)
    expect(answer).to_have_text("good morning")

    send(page, "what did I say first?")
    expect(page.locator(".facts")).to_have_count(2, timeout=START_MS)
    expect(answer.last).to_contain_text("say good morning")
    expect(page.get_by_text("the agent no longer knows what was said before")).to_be_hidden()
    page.reload()
    expect(page.get_by_label("You")).to_have_text(["say good morning", "what did I say first?"])
    expect(answer).to_have_count(2)
