"""Connecting ChatGPT as a person does: the real stack, the real OpenCode, the local identity provider."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page, Response, expect

from local.idp.tokens import JWT_PREFIX, REFRESH_PREFIX
from local.stack.stack_file import StackFile
from tests.browser.composing import START_MS, send
from tests.e2e.own_sandbox import own_sandbox
from tests.networks import networks_work
from tests.waiting import eventually

HOPS = 3

CALL = """
async ([api, thread]) => {
    const session = await fetch("/session", {
        method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({thread}),
    });
    const {token} = await session.json();
    const url = `${api}/api/sandbox/${thread}/opencode/provider/openai/oauth`;
    const init = {
        method: "POST",
        headers: {"Content-Type": "application/json", Authorization: `Bearer ${token}`},
        body: JSON.stringify({method: 1}),
    };
    // Who was sent on as often as a browser goes, while the sandbox started, asks again.
    let begun;
    do begun = await (await fetch(`${url}/authorize`, init)).json();
    while (begun.code === "sandbox_unavailable");
    window.ended = fetch(`${url}/callback`, init).then(async (answer) => [answer.status, await answer.json()]);
    window.ended.then((end) => (window.end = end));
    return begun.user_code;
}
"""

# All that a page can keep, as text.
KEPT = """
async () => {
    const databases = await indexedDB.databases();
    return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, databases,
        await caches.keys(), performance.getEntries().map((entry) => entry.name), document.body.innerHTML]);
}
"""


@pytest.fixture
def dialog(page: Page, stack: StackFile) -> Locator:
    page.goto(stack.web_url)
    page.get_by_role("button", name="Connect ChatGPT").click()
    return page.get_by_role("dialog")


def get_a_code(dialog: Locator, button: str = "Get a code") -> str:
    dialog.get_by_role("button", name=button).click()
    code = dialog.get_by_label("Code", exact=True)
    expect(code).to_be_visible(timeout=START_MS)
    return code.inner_text()


def decide(stack: StackFile, decision: str, code: str) -> str:
    """Approve or deny as the provider's page does; the account that did."""
    answer = httpx.post(f"{stack.idp_url}/codex/device/{decision}", json={"user_code": code})
    account: str = answer.raise_for_status().json()["account_id"]
    return account


@pytest.mark.timeout(600)
def test_codex_answers_once_a_user_has_signed_in(page: Page, dialog: Locator, stack: StackFile) -> None:
    """
    The page may be reloaded meanwhile. After the approval account, models and default are shown, and the next
    message is Codex's to answer, until the user disconnects. The page keeps no token of the provider's.
    """
    code = get_a_code(dialog)
    local = dialog.get_by_role("link", name="Open the local page").get_attribute("href")
    assert parse_qs(urlsplit(local or "").query) == {"user_code": [code]}
    page.reload()
    expect(dialog.get_by_label("Code", exact=True)).to_have_text(code)

    account = decide(stack, "approve", code)

    expect(dialog.get_by_role("heading", name="ChatGPT is connected")).to_be_visible(timeout=START_MS)
    expect(dialog).to_contain_text(account)
    dialog.get_by_role("button", name="Done").click()
    expect(page.get_by_role("button", name=re.compile("^Model: GPT"))).to_be_visible(timeout=START_MS)
    page.get_by_role("button", name=re.compile("^Model: GPT")).click()
    expect(page.get_by_role("radio", name=re.compile("^GPT.* ChatGPT · default$"))).to_be_checked()
    page.keyboard.press("Escape")
    send(page, "say hello from Codex")
    expect(page.get_by_label("Answer")).to_contain_text("hello from Codex", timeout=START_MS)
    expect(page.get_by_text(re.compile("^openai/gpt"))).to_be_visible()

    assert not re.search(f"{re.escape(JWT_PREFIX)}|{re.escape(REFRESH_PREFIX)}", page.evaluate(KEPT))

    page.get_by_role("button", name="ChatGPT connected").click()
    dialog.get_by_role("button", name="Disconnect…").click()
    dialog.get_by_role("button", name="Disconnect", exact=True).click()

    expect(page.get_by_role("button", name="Connect ChatGPT")).to_be_visible(timeout=START_MS)
    expect(page.get_by_role("button", name="Model: demo")).to_be_visible(timeout=START_MS)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_sign_in_that_is_not_wanted_ends(dialog: Locator, stack: StackFile) -> None:
    """
    Not possible through the browser, denied at the provider, cancelled here: the page says so, and goes on.
    """
    dialog.get_by_role("button", name="Through the browser").click()
    expect(dialog.get_by_role("status")).to_contain_text("Not this way", timeout=START_MS)

    decide(stack, "deny", get_a_code(dialog, "Sign in with a code"))
    expect(dialog.get_by_role("status")).to_contain_text("did not let you in", timeout=START_MS)

    get_a_code(dialog, "Start again")
    dialog.get_by_role("button", name="Cancel the sign-in").click()
    expect(dialog.get_by_role("status")).to_contain_text("called off")


@pytest.mark.long
@pytest.mark.skipif(not networks_work(), reason="network namespaces do not work here")
def test_the_browsers_way_ends_at_an_address_to_paste(
    page: Page, dialog: Locator, stack: StackFile, stack_state: Path, tmp_path: Path
) -> None:
    """
    Approved in another tab, which goes back to where nothing listens that this browser reaches.
    """
    # Another OpenCode on this machine may listen there, and would take the answer for its own.
    page.context.route("http://localhost:1455/**", lambda route: route.abort())
    with own_sandbox(stack, stack_state, thread_id=urlsplit(page.url).fragment, directory=tmp_path):
        dialog.get_by_role("button", name="Through the browser").click()
        link = dialog.get_by_role("link", name="Open the local page")
        expect(link).to_be_visible(timeout=START_MS)
        with page.expect_popup() as opened:
            link.click()
        with opened.value.expect_request("http://localhost:1455/**") as back:
            opened.value.get_by_role("button", name="Approve").click()
        dialog.get_by_label("Paste its address here").fill(back.value.url)
        dialog.get_by_role("button", name="Continue").click()

        expect(dialog.get_by_role("heading", name="ChatGPT is connected")).to_be_visible(timeout=START_MS)

        expect(dialog.get_by_role("heading", name="ChatGPT is connected")).to_be_visible(timeout=START_MS)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_plain_fetch_from_another_origin_waits_to_the_end(page: Page, stack: StackFile) -> None:
    """
    The browser follows the redirects by itself, with method, body and Authorization, preflights included.
    """
    hops: list[str] = []

    def note(response: Response) -> None:
        if response.status == 307 and "/oauth/callback" in response.url:
            hops.append(response.url)

    page.on("response", note)
    page.goto(stack.web_url)
    expect(page).to_have_url(re.compile("#."))
    thread = urlsplit(page.url).fragment
    code = page.evaluate(CALL, [stack.http_url, thread])
    end = eventually(lambda: page.evaluate("window.end ?? null") or len(hops) >= HOPS, seconds=90)
    assert end is True

    account = decide(stack, "approve", code)

    assert page.evaluate("window.ended") == [200, {"ok": True, "provider": "openai", "account_id": account}]
    assert len(set(hops)) == len(hops)
