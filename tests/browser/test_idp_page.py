"""The identity provider's pages, as a user finds them."""

from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from local.idp.grants import challenge_of
from local.idp.wire import CLIENT_ID
from tests.integration.providers import Provider, provider


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("idp")) as running:
        yield running


def user_code(idp: Provider) -> str:
    asked = idp.client.post("/api/accounts/deviceauth/usercode", json={"client_id": CLIENT_ID})
    code: str = asked.raise_for_status().json()["user_code"]
    return code


def test_a_code_is_approved_with_the_keyboard(idp: Provider, page: Page) -> None:
    """
    The code is typed, and Enter approves; the page tells as whom.
    """
    code = user_code(idp)
    page.goto(f"{idp.idp_url}/codex/device")
    page.get_by_label("Code").fill(code.lower())
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Approved")).to_be_visible()
    expect(page.get_by_text("You may close this page")).to_be_visible()


def test_a_code_is_denied(idp: Provider, page: Page) -> None:
    """
    With the other button; it cannot be approved any more, which the page says.
    """
    code = user_code(idp)
    page.goto(f"{idp.idp_url}/codex/device?{urlencode({'user_code': code})}")
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("heading", name="Denied")).to_be_visible()

    page.goto(f"{idp.idp_url}/codex/device?{urlencode({'user_code': code})}")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("already denied")).to_be_visible()
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("heading", name="Sign in to Codex with ChatGPT")).to_be_visible()


def test_another_account_may_be_named(idp: Provider, page: Page) -> None:
    """
    To try what a wrong account leads to.
    """
    page.goto(f"{idp.idp_url}/codex/device?{urlencode({'user_code': user_code(idp)})}")
    page.get_by_text("Sign in as another account").click()
    page.get_by_label("Account id").fill("account-of-somebody-else")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("account-of-somebody-else")).to_be_visible()


def test_the_browser_is_sent_back(idp: Provider, page: Page) -> None:
    """
    The page's policy lets its form redirect to the program, and nowhere else.
    """
    came: list[str] = []

    def program(route: Route) -> None:
        came.append(route.request.url)
        route.fulfill(body="signed in")

    page.route("http://localhost:14550/**", program)
    redirect = "http://localhost:14550/auth/callback"
    asked = {
        "response_type": "code", "client_id": CLIENT_ID, "redirect_uri": redirect, "state": "a state",
        "code_challenge": challenge_of("v" * 43), "code_challenge_method": "S256",
    }  # fmt: skip
    page.goto(f"{idp.idp_url}/oauth/authorize?{urlencode(asked)}")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("signed in")).to_be_visible()
    assert urlsplit(came[0]).query.startswith("code=")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read(idp: Provider, page: Page, scheme: str) -> None:
    """
    In light and in dark, text and buttons stand out from what is behind them by 4.5 to 1 and more (WCAG 1.4.3).
    """
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{idp.idp_url}/codex/device")
    contrasts = page.evaluate(
        """() => {
            const light = (color) => {
                const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
                const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const behind = (element) => {
                const color = getComputedStyle(element).backgroundColor;
                return color === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : color;
            };
            return [...document.querySelectorAll("h1, p, label, summary, button, footer")].map((element) => {
                const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
                return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            });
        }"""
    )
    assert len(contrasts) >= 7
    assert min(contrasts) >= 4.5
