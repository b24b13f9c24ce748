"""Asking again, editing and clearing on the page, with the real stack and the real OpenCode, in one tab and in two."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from local.stack.stack_file import StackFile
from tests.browser.composing import START_MS, send
from tests.browser.conftest import profile

ANSWER_MS = 60_000
HOW_MANY = "how many messages?"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def page(browser: Browser, stack: StackFile) -> Iterator[Page]:
    """The page with a thread in which two questions were answered."""
    with profile(browser) as page:
        page.goto(stack.web_url)
        send(page, "say one")
        expect(answers(page)).to_have_text(["one"], timeout=START_MS)
        send(page, HOW_MANY)
        expect(answers(page)).to_have_text(["one", sent(2)], timeout=ANSWER_MS)
        yield page


def answers(page: Page) -> Locator:
    return page.get_by_label("Answer", exact=True)


def questions(page: Page) -> Locator:
    return page.get_by_label("You", exact=True)


def sent(count: int) -> str:
    return f"You have sent {count} message{'' if count == 1 else 's'} in this conversation."


def test_an_answer_is_asked_for_again(page: Page) -> None:
    """
    Another answer takes its place; the agent was asked once more, and not twice.
    """
    before = page.locator(".message.assistant").last
    expect(before).to_contain_text(sent(2))
    page.get_by_role("button", name="Regenerate", exact=True).last.click()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden(timeout=ANSWER_MS)

    expect(answers(page)).to_have_text(["one", sent(2)], timeout=ANSWER_MS)
    expect(questions(page)).to_have_text(["say one", HOW_MANY])


def test_a_question_is_edited(page: Page, stack: StackFile) -> None:
    """
    What followed is gone, here and in another tab; Escape leaves it as it was.
    """
    with page.context.expect_page() as opened:
        page.evaluate("address => { open(address); }", page.url)
    other = opened.value
    expect(answers(other)).to_have_text(["one", sent(2)])

    edit = page.get_by_role("button", name="Edit", exact=True).first
    edit.click()
    page.keyboard.press("Escape")
    expect(questions(page)).to_have_text(["say one", HOW_MANY])
    edit.click()
    page.get_by_label("Edited text").fill("say it otherwise")
    page.get_by_role("button", name="Ask", exact=True).click()

    for each in (page, other):
        expect(questions(each)).to_have_text(["say it otherwise"], timeout=ANSWER_MS)
        expect(answers(each)).to_have_text(["it otherwise"], timeout=ANSWER_MS)
    send(page, HOW_MANY)
    expect(answers(page).last).to_have_text(sent(2), timeout=ANSWER_MS)
    other.close()


def test_what_was_changed_is_there_after_a_reload(page: Page) -> None:
    """
    The page shows what the server holds, as it was before.
    """
    page.reload()
    expect(questions(page)).to_have_text(["say it otherwise", HOW_MANY])
    expect(answers(page)).to_have_text(["it otherwise", sent(2)])


def test_a_conversation_is_cleared_in_the_middle_of_an_answer(page: Page, stack: StackFile) -> None:
    """
    After a question; the other tab is emptied too, nothing comes after, and the next message begins anew.
    """
    with page.context.expect_page() as opened:
        page.evaluate("address => { open(address); }", page.url)
    other = opened.value
    expect(questions(other)).to_have_count(2)
    send(page, "slow 30: and steady")
    expect(answers(other).last).to_contain_text("Slowly:", timeout=ANSWER_MS)

    page.get_by_role("button", name="Clear the conversation").click()
    expect(page.get_by_role("dialog")).to_contain_text("All of it is deleted")
    page.get_by_role("button", name="Clear", exact=True).click()

    for each in (page, other):
        expect(each.get_by_role("heading", name="A new thread")).to_be_visible(timeout=ANSWER_MS)
        expect(each.get_by_role("button", name="Stop", exact=True)).to_be_hidden(timeout=ANSWER_MS)
    send(page, HOW_MANY)
    for each in (page, other):
        expect(answers(each)).to_have_text([re.compile(re.escape(sent(1)))], timeout=ANSWER_MS)
        expect(questions(each)).to_have_text([HOW_MANY])
    page.reload()
    expect(answers(page)).to_have_text([sent(1)])
