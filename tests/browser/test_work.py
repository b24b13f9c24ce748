"""A working day on the page, with the real stack: one thread, from its first message to its end."""

import re
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from local.stack.stack_file import StackFile
from tests.browser.composing import START_MS, send
from tests.browser.conftest import profile
from tests.stacks import ROOT

PICTURES = ROOT / ".local" / "screenshots"
ANSWER_MS = 60_000
TITLE = "Write hello py and run it"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def page(browser: Browser, stack: StackFile) -> Iterator[Page]:
    """The page with a thread in which the agent has written a program and run it."""
    with profile(browser) as page:
        page.goto(stack.web_url)
        send(page, "write hello.py and run it")
        expect(page.locator(".facts")).to_be_visible(timeout=START_MS)
        yield page


def stop_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Stop", exact=True)


def answered(page: Page, count: int) -> Locator:
    """The last answer, which is complete and the one of that number."""
    expect(page.locator(".facts")).to_have_count(count, timeout=ANSWER_MS)
    expect(stop_button(page)).to_be_hidden()
    return page.get_by_label("Answer").last


def test_a_turn_that_runs_can_be_stopped_all_the_while(browser: Browser, stack: StackFile) -> None:
    """
    From the first message on, while the sandbox starts and until the answer ends, Stop is there.
    """
    with profile(browser) as page:
        page.goto(stack.web_url)
        send(page, "slow 3: and steady")
        expect(stop_button(page)).to_be_visible(timeout=ANSWER_MS)
        page.evaluate(
            """() => {
                const composer = document.querySelector("form.composer");
                window.gaps = 0;
                window.watch = new MutationObserver(() => { window.gaps += composer.querySelector(".stop") ? 0 : 1; });
                window.watch.observe(composer, {subtree: true, childList: true});
            }"""
        )
        expect(page.get_by_label("Answer")).to_have_text("Slowly:", timeout=START_MS)
        assert page.evaluate("() => { window.watch.disconnect(); return window.gaps; }") == 0
        expect(page.get_by_text("Sandbox running")).to_be_visible()
        expect(page.get_by_label("Answer")).to_have_text("Slowly: and steady")


def test_tools_show_what_went_in_and_what_came_out(page: Page) -> None:
    """
    Two steps: a file with its content, and a command with its output and exit code.
    """
    wrote = page.get_by_role("region", name=re.compile("^Write .*hello.py"))
    ran = page.get_by_role("region", name=re.compile("^Run python3 .*hello.py"))

    expect(wrote).to_contain_text('print("6 * 7 =", 6 * 7)')
    expect(ran).to_contain_text("6 * 7 = 42")
    expect(ran).to_contain_text("exit code 0")
    expect(page.locator(".facts")).to_have_text(re.compile(r"default/demo · [\d,]+ tokens in · \d+ out"))


def test_the_thread_has_the_title_that_opencode_gave_it(page: Page) -> None:
    """
    In the list, above the conversation and in the browser's own title.
    """
    expect(page.get_by_role("heading", name=TITLE)).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("button", name=TITLE, exact=True)).to_be_visible()
    expect(page).to_have_title(f"{TITLE} · Threadbox")


def test_thoughts_are_folded(page: Page) -> None:
    """
    They are there for whoever opens them.
    """
    send(page, "think aloud about boxes")
    answer = answered(page, 2)

    expect(answer.get_by_text("The user wants me to think about boxes")).to_be_hidden()
    answer.get_by_text("Thoughts").click()
    expect(answer.get_by_text("The user wants me to think about boxes")).to_be_visible()


def test_an_approval_is_given_in_place(page: Page) -> None:
    """
    What cannot be taken back is asked for: refused it is not done, allowed it is.
    """
    send(page, "run: rm -rf attic")
    page.get_by_role("button", name="Refuse").click(timeout=ANSWER_MS)
    refused = answered(page, 3)
    expect(refused.get_by_role("region", name="Run rm -rf attic")).to_contain_text("refused")

    send(page, "run: rm -rf cellar")
    page.get_by_role("button", name="Allow once").click(timeout=ANSWER_MS)
    allowed = answered(page, 4)
    expect(allowed.get_by_role("region", name="Run rm -rf cellar")).to_contain_text("exit code 0")


def test_a_second_tab_sees_the_same_and_can_answer(page: Page) -> None:
    """
    A question is shown in every tab of the thread, and answered from any; afterwards all show the same.
    """
    other = page.context.new_page()
    with other.expect_websocket() as opening:
        other.goto(page.url)
    # It has asked whether an answer is under way, and has heard that there is none.
    opening.value.wait_for_event("framereceived", lambda frame: "cf_agent_stream_resume_none" in str(frame))
    expect(other.get_by_label("Answer")).to_have_count(4)
    send(page, "ask me which colour I like")
    expect(page.get_by_role("group", name="Which colour I like?")).to_be_visible(timeout=ANSWER_MS)
    expect(stop_button(other)).to_be_visible()

    other.get_by_role("radio", name="Green").check()
    other.get_by_role("button", name="Answer", exact=True).click()

    for tab in (page, other):
        answer = answered(tab, 5)
        expect(answer).to_contain_text("You chose Green. I will remember.")
        expect(answer.get_by_role("region", name="Ask")).to_contain_text("Which colour I like? Green")
    other.close()


def test_whoever_comes_back_finds_it_all(page: Page) -> None:
    """
    After a reload the conversation is as it was, tools and thoughts included.
    """
    conversation = page.get_by_role("log")
    before = conversation.text_content()

    page.reload()

    expect(page.get_by_label("Answer")).to_have_count(5)
    expect(conversation).to_have_text(before or "")
    expect(page.get_by_role("region", name=re.compile("^Run python3 .*hello.py"))).to_contain_text("6 * 7 = 42")


def test_code_can_be_taken_along(page: Page) -> None:
    """
    Markdown is shown as it is meant, and code has a button that copies it.
    """
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    send(page, "show me markdown")
    answer = answered(page, 6)

    expect(answer.get_by_role("heading", name="What a reply may hold")).to_be_visible()
    expect(answer.get_by_role("table")).to_contain_text("the sandbox")
    answer.get_by_role("button", name="Copy code").click()
    expect(answer.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("def greet(name: str)")


def test_a_model_can_be_chosen(page: Page) -> None:
    """
    The list is the sandbox's own.
    """
    page.get_by_role("button", name="Model: Default model").click()
    panel = page.get_by_role("dialog", name="Model")

    expect(panel.get_by_role("radio", name="demo default")).to_be_checked(timeout=ANSWER_MS)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Model: demo")).to_be_focused()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_pictures_are_taken(page: Page, width: int, scheme: Literal["light", "dark"]) -> None:
    """
    Of the page in light and dark and on a phone, where nothing is wider than the screen. docs/images has one of them.
    """
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_role("log").evaluate("log => log.parentElement.scrollTo(0, 0)")
    page.get_by_label("Message", exact=True).focus()

    page.screenshot(path=PICTURES / f"{scheme}-{width}.png", animations="disabled")

    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.set_viewport_size({"width": 1200, "height": 800})


def test_the_sandbox_is_stopped_and_started_from_its_panel(page: Page) -> None:
    """
    The panel says since when it runs, and has the buttons.
    """
    page.get_by_role("button", name="Sandbox running").click()
    panel = page.get_by_role("dialog", name="Sandbox")
    expect(panel).to_contain_text("Running since")

    panel.get_by_role("button", name="Stop the sandbox").click()
    expect(page.get_by_text("Sandbox stopped")).to_be_visible(timeout=ANSWER_MS)
    panel.get_by_role("button", name="Start the sandbox").click()

    expect(page.get_by_text("Sandbox running")).to_be_visible(timeout=START_MS)
    page.keyboard.press("Escape")


def test_a_deleted_thread_is_gone(page: Page) -> None:
    """
    From the list and, as whoever kept its address finds, from where it was kept.
    """
    address = page.url
    page.get_by_role("button", name=f"Delete {TITLE}").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="A new thread")).to_be_visible(timeout=ANSWER_MS)
    expect(page.get_by_role("button", name=TITLE)).to_have_count(0)

    page.goto(address)

    expect(page.get_by_role("heading", name="A new thread")).to_be_visible()
