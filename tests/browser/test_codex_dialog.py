"""The dialog to connect ChatGPT, in front of a sign-in that ends as the test wants."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import FakeStack
from tests.browser.fake_codex import FakeCodex
from tests.waiting import eventually
from threadbox.errors import (
    AppError,
    MethodUnavailableError,
    OpenCodeError,
    ProviderUnreachableError,
    RateLimitedError,
    SandboxUnavailableError,
    SigninEndingError,
)

CODE = "WXYZ-12345"
ACCOUNT = "account-of-a-user"
FOCUS_IS_INSIDE = """[document.body, ...document.querySelectorAll("dialog *")].includes(document.activeElement)"""
CODEX = {"provider": "openai", "id": "gpt", "name": "GPT of tomorrow", "default": True}
DEMO = {"provider": "default", "id": "demo", "name": "demo", "default": True}
ENDS = {
    "denied": "did not let you in",
    "timed_out": "not approved in time",
    "cancelled": "called off",
    "superseded": "took the place of this one",
    "abandoned": "No page was open",
    "failed": "sandbox had a problem",
}
REFUSALS = [
    (ProviderUnreachableError("-"), "got no answer from ChatGPT"),
    (SandboxUnavailableError("-", retry_after=3), "none could be started just now"),
    (OpenCodeError("-"), "sandbox had a problem"),
    (RateLimitedError("-", retry_after=1790), "Try again in 30 minutes."),
    (AppError("Something went wrong on our side."), "Something went wrong on our side."),
]


@pytest.fixture
def codex(fake_stack: FakeStack) -> FakeCodex:
    return fake_stack.chat.codex


@pytest.fixture
def opened(page: Page, fake_stack: FakeStack) -> Page:
    page.goto(fake_stack.web_url)
    eventually(lambda: fake_stack.chat.codex.sockets)
    return page


@pytest.fixture
def dialog(opened: Page) -> Locator:
    opened.get_by_role("button", name="Connect ChatGPT").click()
    return opened.get_by_role("dialog")


def press(dialog: Locator, name: str) -> None:
    dialog.get_by_role("button", name=name, exact=True).click()


def wait_with_a_code(dialog: Locator) -> None:
    press(dialog, "Get a code")
    expect(dialog.get_by_label("Code", exact=True)).to_have_text(CODE)


def test_a_user_signs_in_with_a_code(opened: Page, dialog: Locator, fake_stack: FakeStack, codex: FakeCodex) -> None:
    """
    The code can be copied, and is where it is needed; after the approval account and models are shown.
    """
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    wait_with_a_code(dialog)
    expect(dialog.get_by_role("status")).to_contain_text("Waiting for your approval")
    expect(dialog).to_contain_text("Never share this code with anyone")
    expect(dialog.get_by_role("timer")).to_have_text(re.compile(r"^1[45]:\d\d left$"))
    link = dialog.get_by_role("link", name="Open provider.example/codex/device")
    expect(link).to_have_attribute("href", "https://provider.example/codex/device")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    press(dialog, "Copy code")
    assert opened.evaluate("navigator.clipboard.readText()") == CODE

    fake_stack.chat.models = [CODEX]
    codex.end("connected")

    expect(dialog.get_by_role("heading", name="ChatGPT is connected")).to_be_visible()
    expect(dialog).to_contain_text(ACCOUNT)
    press(dialog, "Done")
    expect(opened.get_by_role("button", name="ChatGPT connected")).to_be_focused()
    expect(opened.get_by_role("button", name="Model: GPT of tomorrow")).to_be_visible()
    opened.get_by_role("button", name="Sandbox stopped").click()
    expect(opened.get_by_role("dialog", name="Sandbox")).to_contain_text(ACCOUNT)


def test_each_end_is_told_in_words_and_has_a_way_on(dialog: Locator, codex: FakeCodex) -> None:
    """
    Whatever ends a sign-in, its user learns what it was and can begin anew.
    """
    wait_with_a_code(dialog)
    for end, words in ENDS.items():
        codex.end(end)
        expect(dialog.get_by_role("status")).to_contain_text(words)
        press(dialog, "Start again")
        expect(dialog.get_by_label("Code", exact=True)).to_have_text(CODE)
    assert {replace for _, replace in codex.begun} == {False}

    # Another account than before is taken when its user says so.
    codex.end("mismatch")
    expect(dialog.get_by_role("status")).to_contain_text("another ChatGPT account")
    press(dialog, "Use this account instead")
    expect(dialog.get_by_label("Code", exact=True)).to_have_text(CODE)
    assert codex.begun[-1] == (1, True)


def test_what_keeps_a_sign_in_from_beginning_is_told(dialog: Locator, codex: FakeCodex) -> None:
    """
    Each refusal is told in words, and when it may be tried again.
    """
    codex.refusals = [error for error, _ in REFUSALS]
    press(dialog, "Get a code")
    for _, words in REFUSALS:
        expect(dialog.get_by_role("status")).to_contain_text(words)
        press(dialog, "Start again")
    expect(dialog.get_by_label("Code", exact=True)).to_have_text(CODE)


def test_a_sign_in_waits_for_what_it_needs(dialog: Locator, codex: FakeCodex) -> None:
    """
    An earlier sign-in that is being ended, and a sandbox that starts, are waited for without a further click.
    """
    codex.refusals = [SigninEndingError("-", retry_after=1)]
    codex.starts = 1
    press(dialog, "Get a code")
    expect(dialog.get_by_role("status")).to_contain_text("still being ended")

    expect(dialog.get_by_label("Code", exact=True)).to_have_text(CODE)
    assert len(codex.begun) == 3


def test_waiting_survives_a_reload(opened: Page, dialog: Locator, codex: FakeCodex) -> None:
    """
    The page that comes back shows the same sign-in, and not another one.
    """
    wait_with_a_code(dialog)

    opened.reload()

    expect(dialog.get_by_label("Code", exact=True)).to_have_text(CODE)
    assert len(codex.begun) == 1
    eventually(lambda: codex.sockets)
    codex.end("connected")
    expect(dialog).to_contain_text(ACCOUNT)


def test_an_end_that_was_missed_is_found(dialog: Locator, codex: FakeCodex) -> None:
    """
    What ended while the connection was lost is shown when it is back.
    """
    wait_with_a_code(dialog)
    codex.end("denied", told=False)

    codex.drop()

    expect(dialog.get_by_role("status")).to_contain_text(ENDS["denied"])


@pytest.mark.parametrize("starts", [0, 1])
def test_a_sign_in_can_be_cancelled(dialog: Locator, codex: FakeCodex, starts: int) -> None:
    """
    Its code is worth nothing afterwards; one that has hardly begun does not come up later.
    """
    if starts:
        codex.starts = starts
        press(dialog, "Get a code")
        eventually(lambda: codex.begun)
        press(dialog, "Cancel")
        expect(dialog.get_by_role("button", name="Get a code")).to_be_focused()
    else:
        wait_with_a_code(dialog)
        press(dialog, "Cancel the sign-in")
        expect(dialog.get_by_role("status")).to_contain_text(ENDS["cancelled"])

    assert codex.signin is None or codex.signin.status == "cancelled"
    assert len(codex.begun) == 1


def test_closing_the_dialog_ends_nothing(opened: Page, dialog: Locator, codex: FakeCodex) -> None:
    """
    The keyboard stays in it until Escape gives the focus back; the end is told at the button, and by the dialog.
    """
    wait_with_a_code(dialog)
    for _ in range(8):
        opened.keyboard.press("Tab")
        assert opened.evaluate(FOCUS_IS_INSIDE)
    opened.keyboard.press("Escape")
    waiting = opened.get_by_role("button", name="Waiting for ChatGPT…")
    expect(dialog).to_be_hidden()
    expect(waiting).to_be_focused()
    waiting.press("Enter")
    expect(dialog.get_by_label("Code", exact=True)).to_have_text(CODE)
    press(dialog, "Close")

    codex.end("denied")

    opened.get_by_role("button", name="ChatGPT not connected").click()
    expect(dialog.get_by_role("status")).to_contain_text(ENDS["denied"])


def test_disconnecting_takes_a_confirmation(
    opened: Page, dialog: Locator, fake_stack: FakeStack, codex: FakeCodex
) -> None:
    """
    After it another model answers, also where one of ChatGPT's had been chosen.
    """
    fake_stack.chat.models = [
        CODEX,
        {**DEMO, "default": False},
        {**CODEX, "id": "other", "name": "Other", "default": False},
    ]
    wait_with_a_code(dialog)
    codex.end("connected")
    press(dialog, "Done")
    opened.get_by_role("button", name="Model: GPT of tomorrow").click()
    opened.get_by_role("radio", name="Other").check()
    opened.get_by_role("button", name="ChatGPT connected").click()
    press(dialog, "Disconnect…")
    press(dialog, "Cancel")
    assert codex.account_id == ACCOUNT

    press(dialog, "Disconnect…")
    fake_stack.chat.models = [DEMO]
    press(dialog, "Disconnect")

    expect(opened.get_by_role("button", name="Connect ChatGPT")).to_be_focused()
    expect(opened.get_by_role("button", name="Model: demo")).to_be_visible()
    assert codex.account_id is None


def test_a_way_that_is_not_available_says_why(dialog: Locator, codex: FakeCodex) -> None:
    """
    The reason is the sandbox's own; the other way is one click away. Instructions without a code are shown as they are.
    """
    codex.refusals = [MethodUnavailableError("signing in by the browser needs a network of its own")]
    press(dialog, "Through the browser")
    expect(dialog.get_by_role("status")).to_contain_text("Signing in by the browser needs a network of its own.")
    codex.instructions = "Type the word swordfish."

    press(dialog, "Sign in with a code")

    expect(dialog).to_contain_text("Type the word swordfish.")
    assert [method for method, _ in codex.begun] == [0, 1]


def test_a_pasted_address_completes_a_sign_in(dialog: Locator, codex: FakeCodex) -> None:
    """
    Code and state are found in it; an address without them is said to be none.
    """
    press(dialog, "Through the browser")
    field = dialog.get_by_label("Paste its address here")
    field.fill("http://localhost:1455/")
    press(dialog, "Continue")
    expect(dialog.get_by_role("alert")).to_contain_text("There is no code in this address")

    field.fill(" http://localhost:1455/auth/callback?code=the-code&state=the-state ")
    press(dialog, "Continue")

    expect(dialog.get_by_role("status")).to_contain_text("Finishing the sign-in")
    assert codex.answers == [("the-code", "the-state")]
    codex.end("connected")
    expect(dialog).to_contain_text(ACCOUNT)


def test_the_page_takes_what_the_provider_sends_back(
    opened: Page, dialog: Locator, fake_stack: FakeStack, codex: FakeCodex
) -> None:
    """
    It opens the thread that the sign-in is for, hands the answer on, and leaves nothing of it in the address.
    """
    thread = opened.url
    press(dialog, "Through the browser")
    expect(dialog.get_by_role("timer")).to_be_visible()
    press(dialog, "Close")
    opened.get_by_role("button", name="New thread").first.click()
    expect(opened).not_to_have_url(thread)

    opened.goto(f"{fake_stack.web_url}/?code=the-code&state=the-state")

    expect(dialog.get_by_role("status")).to_contain_text("Finishing the sign-in")
    expect(opened).to_have_url(thread)
    assert codex.answers == [("the-code", "the-state")]
    codex.end("connected")
    expect(dialog).to_contain_text(ACCOUNT)


@pytest.mark.parametrize(
    ("sent", "words"),
    [("error=access_denied&state=the-state", ENDS["denied"]), ("code=c&state=foreign", "belongs to another sign-in")],
)
def test_what_is_sent_back_may_be_no_approval(
    opened: Page, dialog: Locator, fake_stack: FakeStack, sent: str, words: str
) -> None:
    """
    A refusal ends the sign-in; an answer that nobody asked for is not taken.
    """
    press(dialog, "Through the browser")
    expect(dialog.get_by_role("timer")).to_be_visible()

    opened.goto(f"{fake_stack.web_url}/?{sent}")

    expect(dialog.get_by_role("status")).to_contain_text(words)
    assert "state" not in opened.url


def test_it_fits_on_a_phone(opened: Page, dialog: Locator) -> None:
    """
    Nothing is cut off, and the button at the top is short.
    """
    wait_with_a_code(dialog)
    opened.set_viewport_size({"width": 360, "height": 640})
    box = dialog.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert dialog.evaluate("element => element.scrollWidth <= element.clientWidth")
    press(dialog, "Close")
    assert opened.evaluate("document.documentElement.scrollWidth") == 360
