"""
A web app on assistant-ui and the older chat hooks, at the one address of the running stack, the packages as they are.

It is made of what docs/migration.md shows, and of assistant-ui's own parts.
"""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Locator, Page, WebSocket, expect

from local.stack.stack_file import StackFile
from tests.browser.bundles import APPS, bundle, serve
from tests.browser.composing import START_MS

ANSWER_MS = 60_000

# The stack may have to come up first.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app and its packages as one script."""
    app = APPS / "assistant"
    return bundle(app / "app.tsx", app / "node_modules", into=tmp_path_factory.mktemp("app"))


@dataclass(frozen=True)
class App:
    """The app in one tab, and what it has sent."""

    page: Page
    sent: list[dict[str, Any]]

    def ask(self, text: str) -> None:
        """Write and send."""
        self.page.get_by_label("Message").fill(text)
        self.press("Send")

    def press(self, name: str) -> None:
        """Press the last button of that name."""
        self.page.get_by_role("button", name=name, exact=True).last.click()

    def shown(self, selector: str) -> Locator:
        """What of that kind it shows, in order."""
        return self.page.locator(selector)

    def is_ready(self) -> None:
        """The answer has ended: it would send, and not stop."""
        expect(self.page.get_by_role("button", name="Send", exact=True)).to_be_visible(timeout=ANSWER_MS)

    def messages(self) -> list[tuple[str | None, str]]:
        """Return the ids and the content of all messages."""
        return [(each.get_attribute("id"), each.inner_text()) for each in self.shown(".message").all()]

    def reload(self) -> None:
        """Load the page anew, and see the same messages by the same ids."""
        before = self.messages()
        self.page.reload()
        expect(self.shown(".message")).to_have_count(len(before))
        assert before == self.messages()


@pytest.fixture
def app(page: Page, stack: StackFile, script: str) -> Iterator[App]:
    """The app in a tab, on a thread of its own."""
    app = App(page, [])

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: app.sent.append(json.loads(frame)))

    page.on("websocket", listen)
    address = {"host": urlsplit(stack.edge_url).netloc, "thread": f"assistant-{uuid.uuid4().hex[:12]}"}
    page.goto(f"{stack.web_url}{serve(page, script)}#{urlencode(address)}")
    yield app
    # A sandbox that has nothing to do any more takes memory, and starting takes the others longer.
    token = page.request.post(f"{stack.web_url}/session", data={"thread": address["thread"]}).json()["token"]
    deleted = page.request.delete(
        f"{stack.edge_url}/api/threads/{address['thread']}", headers={"Authorization": f"Bearer {token}"}
    )
    assert deleted.ok


def test_it_sends_and_shows_thoughts_and_tools(app: App) -> None:
    """It shows the same after a reload, and sent each message alone."""
    app.ask("think aloud about boxes")
    expect(app.shown(".text").last).to_have_text("I have thought about boxes, and it is good.", timeout=START_MS)
    expect(app.shown(".reasoning")).to_contain_text("think about boxes")
    app.is_ready()

    app.ask("run: echo one")
    expect(app.shown(".tool")).to_contain_text('["bash",{"command":"echo one"},{"output":"one\\n"', timeout=ANSWER_MS)
    expect(app.shown(".text").last).to_contain_text("printed 1 line", timeout=ANSWER_MS)
    app.is_ready()
    app.reload()

    asked = [json.loads(frame["init"]["body"])["messages"] for frame in app.sent if "init" in frame]
    lists = [frame["messages"] for frame in app.sent if frame["type"] == "cf_agent_chat_messages"]
    assert ([1, 1], []) == ([len(messages) for messages in asked], [each for each in lists if each])


@pytest.mark.long
def test_it_stops_asks_again_and_edits(app: App) -> None:
    """In each case it shows what is stored: a reload changes nothing."""
    app.ask("slow 60: a long story")
    expect(app.shown(".text").last).to_contain_text("Slowly", timeout=START_MS)
    app.press("Stop")
    app.is_ready()
    app.reload()

    stopped = app.messages()[-1][0]
    app.press("Again")
    expect(app.shown(".message").last).not_to_have_id(re.compile(f"^{stopped}$"), timeout=ANSWER_MS)
    expect(app.shown(".text").last).to_contain_text("Slowly", timeout=ANSWER_MS)
    app.press("Stop")
    app.is_ready()
    app.reload()

    app.press("Edit")
    app.page.get_by_label("New text").fill("say edited")
    app.press("Change")
    expect(app.shown(".text")).to_have_text(["say edited", "edited"], timeout=ANSWER_MS)
    app.is_ready()
    app.reload()


@pytest.mark.long
def test_answer_goes_on_after_a_reload(app: App) -> None:
    """The page that comes back shows it from its beginning, and to its end."""
    app.ask("stream 60 words every 100 ms")
    expect(app.shown(".text").last).to_contain_text("word1 ", timeout=START_MS)
    app.page.reload()
    expect(app.shown(".text").last).to_have_text(re.compile(r"^word1 word2 .* word60\s*$"), timeout=ANSWER_MS)
    expect(app.shown(".message")).to_have_count(2)
