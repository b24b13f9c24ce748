"""The page as a person uses it: the real stack, the real OpenCode, the demo model."""

import re

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from local.stack.stack_file import StackFile
from tests.browser.composing import send

# A first message starts a sandbox, which on a busy machine takes its time.
ANSWER_MS = 60_000

# The stack may have to come up first.
pytestmark = pytest.mark.timeout(300)


def test_a_message_is_answered_while_one_watches(page: Page, stack: StackFile) -> None:
    """
    Open, see what answers here, send, see the text stream in, done; and it is all there after a reload.
    """
    page.goto(stack.web_url)
    expect(page.get_by_role("heading", name="A new thread")).to_be_visible()
    page.get_by_text("A demo model answers").click()
    expect(page.get_by_text("MODEL_BASE_URL=")).to_be_visible()

    send(page, "stream 150 words")

    answer = page.get_by_label("Answer")
    expect(page.get_by_label("You")).to_have_text("stream 150 words")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    expect(answer).to_contain_text("word1 ", timeout=ANSWER_MS)
    assert "word150" not in answer.inner_text()
    expect(answer).to_have_text(re.compile(r"^word1 .* word150\s*$"), timeout=ANSWER_MS)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.get_by_text("Sandbox running")).to_be_visible()

    page.reload()

    expect(page.get_by_label("You")).to_have_text("stream 150 words")
    expect(answer).to_have_text(re.compile(r"^word1 .* word150\s*$"))
    expect(page.get_by_role("navigation").get_by_role("button", name="Stream 150 words", exact=True)).to_be_visible()


def test_a_tab_that_opens_with_the_answer_shows_it_once(page: Page, stack: StackFile) -> None:
    """
    A second tab that opens in the moment the first one sends has the question and the whole answer, and nothing twice.
    """
    page.goto(stack.web_url)
    send(page, "say hello")
    expect(page.get_by_label("Answer")).to_have_text("hello", timeout=ANSWER_MS)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    tabs = [page.context.new_page() for _ in range(3)]
    address = page.url

    tabs[0].goto(address, wait_until="commit")
    page.get_by_label("Message").fill("stream 60 words every 50 ms")
    tabs[1].goto(address, wait_until="commit")
    page.keyboard.press("Enter")
    tabs[2].goto(address, wait_until="commit")

    for tab in (page, *tabs):
        answers = tab.get_by_label("Answer")
        expect(answers.last).to_have_text(re.compile(r"^word1 .* word60\s*$"), timeout=ANSWER_MS)
        expect(tab.get_by_role("button", name="Send")).to_be_visible()
        expect(tab.get_by_label("You")).to_have_text(["say hello", "stream 60 words every 50 ms"])
        expect(answers).to_have_count(2)


def test_an_answer_goes_on_after_a_reload(page: Page, stack: StackFile) -> None:
    """
    A page that is reloaded in the middle of an answer shows what came and the rest as it comes.
    """
    page.goto(stack.web_url)
    send(page, "slow 6: and steady wins")
    answer = page.get_by_label("Answer")
    expect(answer).to_have_text("Slowly:", timeout=ANSWER_MS)

    page.reload()

    expect(answer).to_have_text("Slowly: and steady wins", timeout=ANSWER_MS)
    expect(answer).to_have_count(1)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_an_answer_that_ends_while_a_page_opens_is_shown(page: Page, stack: StackFile) -> None:
    """
    It is not in the conversation that the page has read, and has ended before the page is connected.
    """
    page.goto(stack.web_url)
    send(page, "slow 6: and steady wins")
    expect(page.get_by_label("Answer")).to_have_text("Slowly:", timeout=ANSWER_MS)
    read: list[tuple[Route, APIResponse]] = []
    opening = page.context.new_page()
    opening.route("**/get-messages*", lambda route: read.append((route, route.fetch())), times=1)
    opening.goto(page.url, wait_until="commit")

    expect(page.get_by_label("Answer")).to_have_text("Slowly: and steady wins", timeout=ANSWER_MS)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    ((route, conversation),) = read
    assert [message["role"] for message in conversation.json()] == ["user"]
    route.fulfill(response=conversation)

    expect(opening.get_by_label("Answer")).to_have_text("Slowly: and steady wins")
    expect(opening.get_by_text("No answer came")).to_be_hidden()


def test_an_answer_can_be_stopped(page: Page, stack: StackFile) -> None:
    """
    Stop ends the answer; the next message is answered.
    """
    page.goto(stack.web_url)
    send(page, "slow: too slow")
    answer = page.get_by_label("Answer")
    expect(answer).to_have_text("Slowly:", timeout=ANSWER_MS)

    page.get_by_role("button", name="Stop", exact=True).click()
    send(page, "say it is over")

    expect(answer.last).to_have_text("it is over", timeout=ANSWER_MS)
    expect(answer.first).to_have_text("Slowly:")
