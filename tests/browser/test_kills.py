"""Whatever part is killed in the middle of an answer, the page says so in time, and `make up` repairs it."""

import os
import re
import signal
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.composing import START_MS, send
from tests.stacks import run_stack, stack_file

pytestmark = pytest.mark.long

PATIENCE_MS = 90_000


@pytest.mark.parametrize(("victim", "pause"), [("aws", 60), ("ecs", 60), ("model", 60), ("web", 5)])
def test_page_does_not_wait_for_what_was_killed(page: Page, state: Path, victim: str, pause: int) -> None:
    """After at most 90 s the page no longer waits; repaired, it answers again."""
    assert run_stack("up", state=state).returncode == 0
    stack = stack_file(state)
    page.goto(stack.web_url)
    send(page, f"slow {pause}: and steady")
    answer = page.get_by_label("Answer")
    expect(answer).to_have_text("Slowly:", timeout=START_MS)

    os.kill(stack.pids[victim], signal.SIGKILL)

    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden(timeout=PATIENCE_MS)
    told = page.get_by_role("alert").or_(answer.filter(has_text=re.compile("Slowly: and steady")))
    expect(told).to_be_visible()

    assert run_stack("up", state=state).returncode == 0
    page.reload()
    send(page, "say we are back")
    expect(answer.last).to_have_text("we are back", timeout=START_MS)


def test_lack_of_room_is_told_and_can_be_tried_again(page: Page, state: Path) -> None:
    """When no sandbox can be started the page says so in words, and trying again works once there is room."""
    assert run_stack("up", state=state).returncode == 0
    stack = stack_file(state)
    faults = {"run_task": "no_capacity", "count": 3}
    httpx.post(f"http://127.0.0.1:{stack.ports['ecs']}/_local/faults", json=faults).raise_for_status()
    page.goto(stack.web_url)
    send(page, "say there is room")
    expect(page.get_by_role("alert")).to_contain_text("no room for another sandbox", timeout=START_MS)
    expect(page.get_by_role("alert")).to_contain_text("sandbox_unavailable")

    page.get_by_role("button", name="Try again").click()

    expect(page.get_by_label("Answer").last).to_have_text("there is room", timeout=START_MS)
