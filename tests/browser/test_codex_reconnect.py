"""What the page does when a connection to ChatGPT has ended, or cannot be used: it says so, and how to go on."""

import re

import pytest
from playwright.sync_api import APIResponse, Locator, Page, Route, expect

from tests.browser.composing import send
from tests.browser.conftest import FakeStack
from tests.browser.fake_codex import FakeCodex
from tests.waiting import eventually
from threadbox.errors import VaultUnreadableError

ACCOUNT = "account-of-a-user"
CODE = "WXYZ-12345"
DEVICE = (1, False)
WHOLE = "This is the whole answer."
ENDED = f"sign-in (account {ACCOUNT}). Sign in again with the same account"
UNREADABLE = "stored ChatGPT sign-in could not be opened"
FAILURES = {
    "reconnect_required": ("reconnect_required", "The ChatGPT connection of this thread has ended."),
    "vault_unreadable": ("vault_unreadable", "The stored sign-in cannot be opened."),
    "provider_unreachable": ("provider_unreachable", "The sign-in service does not answer."),
}


@pytest.fixture
def codex(fake_stack: FakeStack) -> FakeCodex:
    """A thread that is connected."""
    fake_stack.chat.codex.connect()
    return fake_stack.chat.codex


@pytest.fixture
def opened(page: Page, fake_stack: FakeStack, codex: FakeCodex) -> Page:
    page.goto(fake_stack.web_url)
    expect(page.get_by_role("button", name="ChatGPT connected")).to_be_visible()
    eventually(lambda: codex.sockets)
    return page


def press(inside: Page | Locator, name: str) -> None:
    inside.get_by_role("button", name=name, exact=True).click()


def sign_in(dialog: Locator, codex: FakeCodex) -> None:
    """See the code, approve it, and close the dialog."""
    expect(dialog.get_by_label("Code", exact=True)).to_have_text(CODE)
    codex.end("connected")
    expect(dialog.get_by_role("heading", name="ChatGPT is connected")).to_be_visible()
    press(dialog, "Done")


@pytest.mark.parametrize("heard", ["told", "reloaded"])
def test_an_ended_connection_is_one_click_from_the_next(opened: Page, codex: FakeCodex, heard: str) -> None:
    """
    The page says which account it was and that the conversation is kept; the click shows a code, for the same account.
    """
    if heard == "reloaded":
        codex.lapse(told=False)
        opened.reload()
    else:
        codex.lapse()
    notice = opened.get_by_role("status").filter(has_text=ENDED)
    expect(notice).to_contain_text("The conversation is kept")
    expect(opened.get_by_role("button", name="ChatGPT connection ended")).to_be_visible()
    eventually(lambda: codex.sockets)

    press(notice, "Reconnect")

    dialog = opened.get_by_role("dialog", name="Reconnect ChatGPT")
    expect(dialog).to_contain_text(f"Account so far{ACCOUNT}")
    sign_in(opened.get_by_role("dialog"), codex)
    expect(notice).to_have_count(0)
    # What had the focus is gone.
    expect(opened.get_by_role("button", name="ChatGPT connected")).to_be_focused()
    assert codex.begun == [DEVICE]


def test_a_look_that_was_overtaken_says_nothing(opened: Page, codex: FakeCodex) -> None:
    """
    What the backend said of the time before comes late, and does not hide what has been said since.
    """
    held: list[tuple[Route, APIResponse]] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    opened.route("**/http/api/sandbox/*", hold_the_first)
    opened.get_by_role("button", name="Sandbox stopped").click()
    eventually(lambda: opened.evaluate("1") and held)
    codex.lapse()
    notice = opened.get_by_role("status").filter(has_text=ENDED)
    expect(notice).to_be_visible()

    route, answer = held[0]
    with opened.expect_event("requestfinished"):
        route.fulfill(response=answer)
    opened.evaluate("() => new Promise(requestAnimationFrame)")

    assert '"connected":true' in answer.text()
    expect(notice).to_be_visible()


def test_another_account_is_not_taken_unasked(opened: Page, codex: FakeCodex) -> None:
    """
    Approved with another one nothing changes, until the user says that it shall be that one.
    """
    codex.lapse()
    press(opened, "Reconnect")
    dialog = opened.get_by_role("dialog")
    expect(dialog.get_by_label("Code", exact=True)).to_have_text(CODE)

    codex.end("mismatch")

    expect(dialog.get_by_role("status")).to_contain_text("another ChatGPT account than this thread had before")
    press(dialog, "Use this account instead")
    sign_in(dialog, codex)
    assert codex.begun == [DEVICE, (1, True)]


def test_an_ended_connection_can_be_left(opened: Page, codex: FakeCodex) -> None:
    """
    Who wants no other begins none by looking at it, and disconnects what is left; then nothing is said any more.
    """
    codex.lapse()
    opened.get_by_role("button", name="ChatGPT connection ended").click()
    dialog = opened.get_by_role("dialog", name="Reconnect ChatGPT")
    expect(dialog.get_by_role("status")).to_contain_text(ENDED)
    expect(dialog.get_by_role("button", name="Get a code")).to_be_focused()

    press(dialog, "Disconnect…")
    press(opened.get_by_role("dialog", name="Disconnect ChatGPT?"), "Disconnect")

    expect(opened.get_by_role("button", name="Connect ChatGPT")).to_be_visible()
    expect(opened.get_by_role("button", name="Reconnect")).to_have_count(0)
    assert codex.begun == []


@pytest.mark.parametrize("told", [True, False])
def test_an_answer_without_a_connection_is_one_click_from_the_next(
    opened: Page, fake_stack: FakeStack, codex: FakeCodex, *, told: bool
) -> None:
    """
    The click is beside the sentence, and it is said once; after the sign-in the same message is answered.
    """
    codex.lapse(told=told)
    fake_stack.chat.failures = [FAILURES["reconnect_required"]]
    send(opened, "hello")
    alert = opened.get_by_role("alert")
    expect(alert).to_contain_text(ENDED)
    expect(alert).to_contain_text("reconnect_required")
    expect(opened.get_by_text(ENDED)).to_have_count(1)

    press(alert, "Reconnect")
    sign_in(opened.get_by_role("dialog"), codex)

    expect(alert).to_have_count(0)
    notice = opened.get_by_role("status").filter(has_text="ChatGPT is connected again")
    again = notice.get_by_role("button", name="Try again")
    expect(again).to_be_focused()
    opened.keyboard.press("Enter")
    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)
    expect(notice).to_have_count(0)
    assert codex.begun == [DEVICE]


def test_a_sign_in_that_cannot_be_opened_may_be_tried_again(opened: Page, fake_stack: FakeStack) -> None:
    """
    It may be of the moment only, and nothing is taken away for it.
    """
    fake_stack.chat.failures = [FAILURES["vault_unreadable"]]
    send(opened, "hello")
    expect(opened.get_by_role("alert")).to_contain_text(UNREADABLE)
    expect(opened.get_by_role("alert")).to_contain_text("Trying again may help")

    press(opened.get_by_role("alert"), "Try again")

    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)
    expect(opened.get_by_role("alert")).to_have_count(0)
    assert fake_stack.chat.codex.account_id == ACCOUNT


def test_a_sign_in_that_cannot_be_opened_is_replaced(opened: Page, fake_stack: FakeStack, codex: FakeCodex) -> None:
    """
    One confirmed action takes it away and begins another; after it the same message is answered.
    """
    fake_stack.chat.failures = [FAILURES["vault_unreadable"]]
    send(opened, "hello")
    press(opened.get_by_role("alert"), "Disconnect and sign in anew…")
    question = opened.get_by_role("dialog", name="Sign in anew?")
    expect(question).to_contain_text(ACCOUNT)
    press(question, "Cancel")
    expect(opened.get_by_role("dialog")).to_have_count(0)
    expect(opened.get_by_role("button", name="Disconnect and sign in anew…")).to_be_focused()
    assert (codex.account_id, codex.begun) == (ACCOUNT, [])

    opened.keyboard.press("Enter")
    press(question, "Disconnect and sign in")

    expect(opened.get_by_role("dialog").get_by_label("Code", exact=True)).to_have_text(CODE)
    assert (codex.account_id, codex.begun) == (None, [DEVICE])
    sign_in(opened.get_by_role("dialog"), codex)
    expect(opened.get_by_text("ChatGPT is connected again")).to_be_visible()
    press(opened, "Try again")
    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)


def test_a_replacement_that_is_not_completed_leaves_the_thread_usable(
    opened: Page, fake_stack: FakeStack, codex: FakeCodex
) -> None:
    """
    What could not be opened is gone by then; the page says that another model answers.
    """
    fake_stack.chat.failures = [FAILURES["vault_unreadable"]]
    send(opened, "hello")
    press(opened.get_by_role("alert"), "Disconnect and sign in anew…")
    press(opened.get_by_role("dialog"), "Disconnect and sign in")
    dialog = opened.get_by_role("dialog", name="Connect ChatGPT")
    press(dialog, "Cancel the sign-in")
    expect(dialog.get_by_role("status")).to_contain_text("called off")
    press(dialog, "Close")

    expect(opened.get_by_text("Another model answers from now on")).to_be_visible()
    press(opened, "Try again")
    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)


def test_a_sandbox_that_does_not_start_for_it_has_the_same_way_on(
    opened: Page, fake_stack: FakeStack, codex: FakeCodex
) -> None:
    """
    Where it is started, the reason is said, and the way on is there.
    """
    fake_stack.chat.failures = [FAILURES["vault_unreadable"]]
    opened.get_by_role("button", name="Sandbox stopped").click()
    panel = opened.get_by_role("dialog", name="Sandbox")
    press(panel, "Start the sandbox")
    expect(panel.get_by_role("alert")).to_contain_text(UNREADABLE)

    press(panel, "Disconnect and sign in anew…")
    press(opened.get_by_role("dialog", name="Sign in anew?"), "Disconnect and sign in")

    sign_in(opened.get_by_role("dialog"), codex)
    expect(opened.get_by_role("button", name="ChatGPT connected")).to_be_focused()
    assert codex.begun == [DEVICE]


def test_a_new_sign_in_that_cannot_begin_for_it_has_the_same_way_on(opened: Page, codex: FakeCodex) -> None:
    """
    The dialog offers to try again, and to disconnect first; to think better of it leads back to it.
    """
    codex.lapse()
    codex.refusals = [VaultUnreadableError("-"), VaultUnreadableError("-")]
    press(opened, "Reconnect")
    dialog = opened.get_by_role("dialog", name="Reconnect ChatGPT")
    expect(dialog.get_by_role("status")).to_contain_text(UNREADABLE)
    expect(dialog).to_contain_text("vault_unreadable")
    press(dialog, "Start again")
    expect(dialog.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)

    press(dialog, "Disconnect and sign in anew…")
    press(opened.get_by_role("dialog", name="Sign in anew?"), "Cancel")
    press(dialog, "Disconnect and sign in anew…")
    press(opened.get_by_role("dialog", name="Sign in anew?"), "Disconnect and sign in")

    sign_in(opened.get_by_role("dialog"), codex)
    assert codex.begun == [DEVICE, DEVICE, DEVICE]


def test_a_sign_in_service_that_is_away_is_told(opened: Page, fake_stack: FakeStack, codex: FakeCodex) -> None:
    """
    Nothing is lost by it: there is no other sign-in to make, only to try again.
    """
    fake_stack.chat.failures = [FAILURES["provider_unreachable"]]
    send(opened, "hello")
    alert = opened.get_by_role("alert")
    expect(alert).to_contain_text("sign-in service cannot be reached just now")
    expect(alert.get_by_role("button")).to_have_text(["Try again"])

    press(alert, "Try again")

    expect(opened.get_by_label("Answer")).to_have_text(WHOLE)
    expect(opened.get_by_role("button", name="ChatGPT connected")).to_be_visible()
    assert codex.begun == []


def test_the_chosen_model_is_kept_over_a_reconnect(opened: Page, fake_stack: FakeStack, codex: FakeCodex) -> None:
    """
    One of ChatGPT's is still chosen when the thread is connected again.
    """
    offer = {"provider": "openai", "id": "gpt", "name": "GPT", "default": True}
    fake_stack.chat.models = [offer, {**offer, "id": "other", "name": "Other", "default": False}]
    opened.get_by_role("button", name="Model: Default model").click()
    opened.get_by_role("radio", name="Other").check()
    opened.keyboard.press("Escape")

    codex.lapse()
    press(opened, "Reconnect")
    sign_in(opened.get_by_role("dialog"), codex)

    expect(opened.get_by_role("button", name="Model: Other")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_words_can_be_read_on_a_phone(opened: Page, fake_stack: FakeStack, codex: FakeCodex, scheme: str) -> None:
    """
    Nothing is cut off, in light and dark; sentences and buttons have the contrast that WCAG 2.2 asks for.
    """
    opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    opened.set_viewport_size({"width": 360, "height": 640})
    fake_stack.chat.failures = [FAILURES["vault_unreadable"]]
    send(opened, "hello")
    alert = opened.get_by_role("alert")
    assert_readable(alert)

    codex.lapse()
    assert_readable(opened.get_by_role("status").filter(has_text=ENDED))
    assert opened.evaluate("document.documentElement.scrollWidth") == 360


def assert_readable(notice: Locator) -> None:
    for part in (notice.locator("p"), *notice.get_by_role("button").all()):
        box = part.bounding_box()
        assert box is not None
        assert box["width"] >= 60
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert part.evaluate("part => part.scrollWidth <= part.clientWidth")
        assert contrast(part) >= 4.5


def contrast(part: Locator) -> float:
    """The contrast of a text with what is behind it (WCAG 2.2, 1.4.3)."""
    lightness = [luminance(color) for color in part.evaluate(COLORS)]
    return (max(lightness) + 0.05) / (min(lightness) + 0.05)


COLORS = """part => {
    let behind = part;
    const transparent = element => /^(transparent|rgba\\(.*, 0\\))$/.test(getComputedStyle(element).backgroundColor);
    while (transparent(behind) && behind.parentElement) behind = behind.parentElement;
    return [getComputedStyle(part).color, getComputedStyle(behind).backgroundColor];
}"""


def luminance(color: str) -> float:
    values = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
