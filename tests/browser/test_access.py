"""The page for those who cannot see it, or have no mouse: whatever can be operated has a name and can be reached."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.composing import send
from tests.browser.conftest import FakeStack

OPERATED = {"button", "checkbox", "combobox", "link", "radio", "searchbox", "switch", "tab", "textbox"}
NAMED = OPERATED | {"article", "dialog", "DisclosureTriangle", "group", "log", "navigation", "radiogroup", "region"}
MODELS = [
    {"provider": "anthropic", "id": "claude-x", "name": "Claude X", "default": True},
    {"provider": "default", "id": "demo", "name": "demo", "default": False},
]
# What a press of Tab should come to: it is shown, works, and is no radio button beside the chosen one.
REACHABLE = """() => {
    const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.tabIndex >= 0;
    window.reachable = [...document.querySelectorAll("a[href], button, input, textarea, summary, [tabindex]")]
        .filter((one) => shown(one) && !(one.type === "radio" && !one.checked));
    return window.reachable.length;
}"""
REACHED = """() => {
    const style = getComputedStyle(document.activeElement);
    const ring = style.outlineStyle !== "none" || style.boxShadow !== "none";
    const field = document.activeElement.closest(".field");
    return [window.reachable.indexOf(document.activeElement), ring || (field !== null)];
}"""


@pytest.fixture
def opened(page: Page, fake_stack: FakeStack) -> Page:
    fake_stack.chat.models = MODELS
    page.goto(fake_stack.web_url)
    expect(page.get_by_role("heading", name="A new thread")).to_be_visible()
    return page


def welcome(_: Page) -> None:
    """As it is when it was opened."""


def conversation(page: Page) -> None:
    """A tool at work, below a list of two threads."""
    send(page, "hello")
    expect(page.get_by_label("Answer")).to_have_text("This is the whole answer.")
    page.get_by_role("button", name="New thread").first.click()
    send(page, "work")
    expect(page.get_by_role("region", name="Run make all")).to_contain_text("running")


def failure(page: Page) -> None:
    """Something to try again."""
    send(page, "fail")
    expect(page.get_by_role("alert")).to_be_visible()


def model_picker(page: Page) -> None:
    """The panel with the models."""
    page.get_by_role("button", name="Model: Default model").click()
    expect(page.get_by_role("radio", name="demo")).to_be_visible()


def sandbox_panel(page: Page) -> None:
    """The panel of the sandbox."""
    page.get_by_role("button", name="Sandbox stopped").click()
    expect(page.get_by_role("dialog", name="Sandbox")).to_be_visible()


def deletion(page: Page) -> None:
    """The question before a thread is deleted."""
    send(page, "hello")
    page.get_by_role("button", name="Delete hello").click()
    expect(page.get_by_role("dialog", name="Delete this thread?")).to_be_visible()


def renaming(page: Page) -> None:
    """A thread's title, being written."""
    send(page, "hello")
    page.get_by_role("button", name="Rename hello").click()
    expect(page.get_by_label("Title of the thread")).to_be_focused()


def signin(page: Page) -> None:
    """The dialog to connect an account."""
    page.get_by_role("button", name="Connect ChatGPT").click()
    expect(page.get_by_role("dialog")).to_contain_text(re.compile("code", re.IGNORECASE))


VIEWS = (welcome, conversation, failure, model_picker, sandbox_panel, deletion, renaming, signin)


@pytest.mark.parametrize("view", VIEWS)
def test_everything_that_can_be_operated_has_a_name(opened: Page, view: Callable[[Page], None]) -> None:
    """
    As a screen reader sees it, also on a phone: controls, and the parts of the page that it offers to go to.
    """
    view(opened)
    for width in (1200, 390):
        opened.set_viewport_size({"width": width, "height": 760})
        session = opened.context.new_cdp_session(opened)
        nodes = [node for node in session.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        parts = [(node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in nodes]

        assert [role for role, name in parts if role in NAMED and not name] == []
        assert OPERATED & {role for role, _ in parts}


@pytest.mark.parametrize("view", VIEWS)
def test_everything_can_be_reached_with_the_keyboard(opened: Page, view: Callable[[Page], None]) -> None:
    """
    Tab comes to every control that is shown, one after the other, and it can be seen where one is.
    """
    view(opened)
    dialog = opened.locator("dialog:modal")
    inside = dialog.count() > 0
    count = opened.evaluate(REACHABLE)

    reached = {opened.evaluate(REACHED)[0]}
    for _ in range(2 * count + 4):
        opened.keyboard.press("Tab")
        place, seen = opened.evaluate(REACHED)
        if place >= 0:
            assert seen, opened.evaluate("() => document.activeElement.outerHTML")
            reached.add(place)

    missed = opened.evaluate(
        "([reached, inside]) => window.reachable.filter((one, place) => !reached.includes(place)"
        " && (!inside || one.closest('dialog') !== null)).map((one) => one.outerHTML)",
        [sorted(reached), inside],
    )
    assert missed == []
