"""What the page does when the other side breaks: it says so in time, and there is a way on."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.composing import send
from tests.browser.conftest import FakeStack
from tests.waiting import eventually

WHOLE = "This is the whole answer."


@pytest.fixture
def opened(page: Page, fake_stack: FakeStack) -> Page:
    # Time goes on as usual until a test jumps ahead.
    page.clock.install()
    page.goto(fake_stack.web_url)
    expect(page.get_by_role("heading", name="A new thread")).to_be_visible()
    return page


def test_the_sandboxs_state_is_shown(opened: Page) -> None:
    """
    Transient data about the sandbox becomes one line, and no part of the conversation.
    """
    send(opened, "hello")

    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)
    expect(opened.get_by_text("Sandbox running")).to_be_visible()
    expect(opened.get_by_role("article")).to_have_count(2)


def test_only_the_last_message_is_sent(opened: Page, fake_stack: FakeStack) -> None:
    """
    A frame stays small however long the conversation is.
    """
    for count, text in enumerate(("first", "second"), start=1):
        send(opened, text)
        expect(opened.get_by_label("Answer")).to_have_count(count)
        expect(opened.get_by_role("button", name="Send")).to_be_visible()

    requests = [frame for frame in fake_stack.chat.received if frame["type"] == "cf_agent_use_chat_request"]
    assert ["first" in request["init"]["body"] for request in requests] == [True, False]


def test_a_message_is_not_called_unanswered_before_its_answer_begins(page: Page, fake_stack: FakeStack) -> None:
    """
    Sent before the server has said that nothing is under way, which on a slow machine is the first thing to come.
    """
    fake_stack.chat.late = True
    page.goto(fake_stack.web_url)
    send(page, "wait for it")

    expect(page.get_by_text("Sandbox running")).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    expect(page.get_by_text("No answer came")).to_be_hidden()


def test_a_history_that_does_not_fit_a_frame_is_fetched(opened: Page) -> None:
    """
    What another tab asked is there, in its place, and nothing that was there is gone.
    """
    send(opened, "elsewhere")

    expect(opened.get_by_role("article")).to_have_count(3)
    expect(opened.get_by_role("article").last).to_contain_text("And what else?")
    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)


def test_too_long_a_message_is_not_sent(opened: Page, fake_stack: FakeStack) -> None:
    """
    The page says how much it may be; what it is escaped into counts, since a frame has a limit, too.
    """
    for text in ("x" * 200_000, '"' * 12_000):
        opened.get_by_label("Message").fill(text)

        expect(opened.get_by_text("24 KB is the most")).to_be_visible()
        expect(opened.get_by_role("button", name="Send")).to_be_disabled()
    assert not any("init" in frame for frame in fake_stack.chat.received)


def test_a_socket_that_ends_over_too_large_a_frame_is_explained(opened: Page) -> None:
    """
    API Gateway ends it with 1009: the page says what to do, does not wait, and goes on when it is connected again.
    """
    send(opened, "too large")

    expect(opened.get_by_role("alert")).to_contain_text("24 KB is the most")
    expect(opened.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    send(opened, "short")
    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)


def test_an_error_can_be_tried_again(opened: Page, fake_stack: FakeStack) -> None:
    """
    The sentence of an error frame is shown; trying again asks the same message.
    """
    send(opened, "fail")
    expect(opened.get_by_role("alert")).to_contain_text("The model refused the key.")

    opened.get_by_role("button", name="Try again").click()

    expect(opened.get_by_role("alert")).to_contain_text("The model refused the key.")
    asked = [frame["init"]["body"] for frame in fake_stack.chat.received if "init" in frame]
    assert len(asked) == 2
    assert len(fake_stack.chat.histories[opened.url.rpartition("#")[2]]) == 1


def test_stop_tells_the_server(opened: Page, fake_stack: FakeStack) -> None:
    """
    Stop sends a cancel for the request under way, and the composer is free at once.
    """
    send(opened, "hang")
    expect(opened.get_by_label("Answer")).to_have_text("This is")

    opened.get_by_role("button", name="Stop", exact=True).click()

    expect(opened.get_by_role("button", name="Send")).to_be_visible()
    request = next(frame["id"] for frame in fake_stack.chat.received if "init" in frame)
    eventually(lambda: {"type": "cf_agent_chat_request_cancel", "id": request} in fake_stack.chat.received)


@pytest.mark.parametrize("text", ["drop", "drop and end"])
def test_a_lost_connection_costs_nothing(opened: Page, text: str) -> None:
    """
    A connection that breaks in an answer comes back, and the answer is whole, whether or not it ended meanwhile.
    """
    send(opened, text)
    expect(opened.get_by_label("Answer")).to_have_text("This is")

    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)
    expect(opened.get_by_label("Answer")).to_have_count(1)
    expect(opened.get_by_role("alert")).to_have_count(0)
    expect(opened.get_by_role("button", name="Send")).to_be_visible()


@pytest.mark.parametrize("told", [("none", "resuming"), ("resuming", "none"), ("resuming", "resuming")])
def test_an_offer_counts_whatever_else_a_tab_was_told(
    opened: Page, fake_stack: FakeStack, told: tuple[str, ...]
) -> None:
    """
    Where two functions answer a probe, one before and one after an answer began, a tab shows that answer, and once.
    """
    send(opened, "hang")
    expect(opened.get_by_label("Answer")).to_have_text("This is")
    fake_stack.chat.told = told

    other = opened.context.new_page()
    other.goto(opened.url)

    expect(other.get_by_label("Answer")).to_have_text(WHOLE)
    expect(other.get_by_role("button", name="Send")).to_be_visible()
    expect(other.get_by_label("Answer")).to_have_count(1)
    acks = [frame for frame in fake_stack.chat.received if frame["type"] == "cf_agent_stream_resume_ack"]
    assert len(acks) == 1


def test_silence_is_not_waited_out(opened: Page) -> None:
    """
    After 75 s of nothing the page stops waiting; checking again attaches to what the server still does.
    """
    send(opened, "hang")
    expect(opened.get_by_label("Answer")).to_have_text("This is")
    opened.clock.fast_forward(60_000)
    expect(opened.get_by_role("button", name="Stop", exact=True)).to_be_visible()

    opened.clock.fast_forward(15_000)

    expect(opened.get_by_role("alert")).to_contain_text("Nothing has come for a while")
    expect(opened.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    opened.get_by_role("button", name="Check again").click()
    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)
    expect(opened.get_by_role("alert")).to_have_count(0)


def test_a_connection_that_stays_away_is_not_waited_for(opened: Page, fake_stack: FakeStack) -> None:
    """
    After 30 s without a connection the page stops waiting; when it comes back, so does the answer.
    """
    send(opened, "drop and stay away")
    expect(opened.get_by_label("Answer")).to_have_text("This is")
    expect(opened.get_by_text("The connection is lost")).to_be_visible()

    opened.clock.fast_forward(30_000)
    expect(opened.get_by_role("alert")).to_contain_text("The connection has been gone for a while")

    fake_stack.chat.refusing = False
    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)
    expect(opened.get_by_role("alert")).to_have_count(0)


def test_what_is_sent_without_a_connection_is_held(opened: Page, fake_stack: FakeStack) -> None:
    """
    A message that cannot go out yet stays in the composer, and goes out once it can.
    """
    send(opened, "drop and end and stay away")
    expect(opened.get_by_text("The connection is lost")).to_be_visible()
    opened.clock.fast_forward(30_000)

    send(opened, "hello")
    expect(opened.get_by_role("button", name="Sending…")).to_be_disabled()
    fake_stack.chat.refusing = False

    expect(opened.get_by_label("You")).to_have_text(["drop and end and stay away", "hello"])
    expect(opened.get_by_label("Answer")).to_have_text([WHOLE, WHOLE])


def test_what_is_being_written_survives_a_reopening(opened: Page, fake_stack: FakeStack) -> None:
    """
    When the page begins anew with what the server holds, the text, the caret and the focus stay where they were.
    """
    send(opened, "drop and end and stay away")
    expect(opened.get_by_text("The connection is lost")).to_be_visible()
    field = opened.get_by_label("Message")
    field.fill("half a thought")
    field.evaluate("field => field.setSelectionRange(5, 5)")
    conversation = opened.get_by_role("log").element_handle()

    with opened.expect_response("**/get-messages"):
        opened.clock.fast_forward(30_000)
    conversation.wait_for_element_state("hidden")
    opened.keyboard.type("whole ")

    expect(field).to_be_focused()
    expect(field).to_have_value("half whole a thought")


def test_a_message_can_be_sent_before_there_is_a_connection(page: Page, fake_stack: FakeStack) -> None:
    """
    The first connection may take its time: the page says that it is connecting, and holds what is sent meanwhile.
    """
    fake_stack.chat.refusing = True
    page.goto(fake_stack.web_url)
    send(page, "hello")
    expect(page.get_by_role("button", name="Sending…")).to_be_disabled()
    expect(page.get_by_text("Connecting…")).to_be_visible()

    fake_stack.chat.refusing = False

    expect(page.get_by_label("You")).to_have_text("hello")
    expect(page.get_by_label("Answer")).to_have_text(WHOLE)
