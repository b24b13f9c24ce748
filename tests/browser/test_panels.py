"""What stands around the conversation, in front of a backend that can be made to refuse."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.composing import send
from tests.browser.conftest import FakeStack

WHOLE = "This is the whole answer."
MODELS = [
    {"provider": "anthropic", "id": "claude-x", "name": "Claude X", "default": True},
    {"provider": "default", "id": "demo", "name": "demo", "default": False},
]


@pytest.fixture
def opened(page: Page, fake_stack: FakeStack) -> Page:
    page.goto(fake_stack.web_url)
    expect(page.get_by_role("heading", name="A new thread")).to_be_visible()
    return page


def test_a_failure_is_told_with_its_code(opened: Page) -> None:
    """
    The sentence is for the user, the code for whoever has to look for the cause.
    """
    send(opened, "fail")

    expect(opened.get_by_role("alert")).to_contain_text("The model refused the key.")
    expect(opened.get_by_role("alert")).to_contain_text("model_unauthorized")


def test_a_further_try_of_the_model_is_told(opened: Page) -> None:
    """
    While the model is tried again the page says so, and the answer can be stopped.
    """
    send(opened, "retry")

    expect(opened.get_by_text("It is tried again (attempt 2)")).to_be_visible()
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("button", name="Send")).to_be_visible()


def test_what_a_command_prints_is_shown_while_it_runs(opened: Page) -> None:
    """
    Long output is folded to its end while it grows; the rest is one click away.
    """
    send(opened, "work")

    tool = opened.get_by_role("region", name="Run make all")
    expect(tool).to_contain_text("running")
    expect(tool.locator("pre")).to_have_text(re.compile(r"^\s*line 49\s.*line 60\s*$", re.DOTALL))
    tool.get_by_role("button", name="Show all 60 lines").click()
    expect(tool.locator("pre")).to_have_text(re.compile(r"^\s*line 1\s.*line 60\s*$", re.DOTALL))


def test_a_lost_memory_is_told(opened: Page) -> None:
    """
    A new sandbox does not remember the conversation, and its user should know.
    """
    send(opened, "forget")

    told = opened.get_by_text("the agent no longer knows what was said before")
    expect(told).to_be_visible()
    opened.get_by_role("button", name="All right").click()
    expect(told).to_be_hidden()


def test_models_can_be_asked_for_again_and_chosen(opened: Page, fake_stack: FakeStack) -> None:
    """
    A list that cannot be had is said to be so; a chosen model is named in the request, and kept over a reload.
    """
    opened.get_by_role("button", name="Model: Default model").click()
    panel = opened.get_by_role("dialog", name="Model")
    expect(panel).to_contain_text("The sandbox is still starting.")
    fake_stack.chat.models = MODELS
    panel.get_by_role("button", name="Try again").click()
    expect(panel.get_by_role("radio", name="Claude X anthropic")).to_be_checked()

    panel.get_by_role("radio", name="demo").check()
    expect(opened.get_by_role("button", name="Model: demo")).to_be_visible()
    opened.reload()
    expect(opened.get_by_role("button", name="Model: demo")).to_be_visible()
    send(opened, "hello")

    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)
    asked = next(frame["init"]["body"] for frame in fake_stack.chat.received if "init" in frame)
    assert '"model":"default/demo"' in asked


def test_a_panel_closes_with_escape_and_gives_the_focus_back(opened: Page) -> None:
    """
    Whoever works with the keyboard is back where he was.
    """
    button = opened.get_by_role("button", name="Sandbox stopped")
    button.press("Enter")
    expect(opened.get_by_role("dialog", name="Sandbox")).to_be_visible()

    opened.keyboard.press("Escape")

    expect(opened.get_by_role("dialog", name="Sandbox")).to_be_hidden()
    expect(button).to_be_focused()


def test_why_a_sandbox_ended_is_told(opened: Page, fake_stack: FakeStack) -> None:
    """
    A start that failed says why, and can be tried again.
    """
    button = opened.get_by_role("button", name="Sandbox stopped")
    expect(button).to_be_visible()
    fake_stack.chat.sandbox = {"state": "failed", "reason": "There is no room for another sandbox just now."}
    button.click()
    panel = opened.get_by_role("dialog", name="Sandbox")

    expect(panel).to_contain_text("There is no room for another sandbox just now.")
    fake_stack.chat.sandbox = {"state": "running", "started_at": 1_800_000_000, "opencode_version": "1.2.3"}
    panel.get_by_role("button", name="Start the sandbox").click()
    expect(panel).to_contain_text("1.2.3")
    expect(panel.get_by_role("button", name="Stop the sandbox")).to_be_enabled()


def test_a_thread_that_cannot_be_deleted_stays(opened: Page, fake_stack: FakeStack) -> None:
    """
    It leaves the list only when it is gone where it is kept.
    """
    fake_stack.chat.deletable = False
    send(opened, "hello")
    opened.get_by_role("button", name="Delete hello").click()
    dialog = opened.get_by_role("dialog", name="Delete this thread?")
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog.get_by_role("alert")).to_contain_text("cannot be ended just now")

    fake_stack.chat.deletable = True
    dialog.get_by_role("button", name="Delete").click()

    expect(dialog).to_be_hidden()
    expect(opened.get_by_role("navigation").get_by_role("listitem")).to_have_count(1)
    expect(opened.get_by_role("heading", name="A new thread")).to_be_visible()


def test_a_dialog_stays_when_what_it_was_opened_from_is_hidden(opened: Page) -> None:
    """
    A window that gets narrow hides the list of threads, but not the question that was asked from it.
    """
    send(opened, "hello")
    opened.get_by_role("button", name="Delete hello").click()
    opened.set_viewport_size({"width": 375, "height": 700})
    dialog = opened.get_by_role("dialog", name="Delete this thread?")
    expect(opened.get_by_role("navigation", name="Threads")).to_be_hidden()

    dialog.get_by_role("button", name="Cancel").click()

    expect(dialog).to_be_hidden()
    send(opened, "hello again")
    expect(opened.get_by_label("Answer")).to_have_count(2)


def test_a_name_of_ones_own_wins(opened: Page) -> None:
    """
    A thread is named after its first message until its user gives it a name; Escape keeps the old one.
    """
    send(opened, "hello")
    expect(opened.get_by_role("heading", name="hello")).to_be_visible()

    opened.get_by_role("button", name="Rename hello").click()
    opened.get_by_label("Title of the thread").fill("no")
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("heading", name="hello")).to_be_visible()
    opened.get_by_role("button", name="Rename hello").click()
    opened.keyboard.type("My boxes")
    opened.keyboard.press("Enter")

    send(opened, "hello again")
    expect(opened.get_by_label("Answer")).to_have_count(2)
    expect(opened.get_by_role("heading", name="My boxes")).to_be_visible()
    expect(opened).to_have_title("My boxes · Threadbox")


def test_threads_are_at_hand_on_a_phone(opened: Page) -> None:
    """
    The list covers the page when it is asked for, and gives way to the thread that is chosen.
    """
    send(opened, "hello")
    opened.set_viewport_size({"width": 375, "height": 700})
    threads = opened.get_by_role("navigation", name="Threads")
    expect(threads).to_be_hidden()
    assert opened.evaluate("document.documentElement.scrollWidth") == 375

    opened.get_by_role("button", name="Threads").click()
    threads.get_by_role("button", name="New thread").first.click()

    expect(threads).to_be_hidden()
    expect(opened.get_by_role("heading", name="A new thread")).to_be_visible()
