"""
What a web app's chat hooks can do, in a browser, with the running stack and the npm packages as they are.

The newest generation is that of the reference page, whose own tests show most of this, too. The older one, which web
apps have pinned, has packages of its own: where it differs most on the wire is not left to the long tests.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from local.stack.stack_file import StackFile
from tests.browser.bundles import APPS, WEBAPP, bundle, serve
from tests.browser.conftest import profile
from tests.waiting import eventually

APP = APPS / "hooks.jsx"
PACKAGES = {"newest": WEBAPP / "node_modules", "older": APPS / "older" / "node_modules"}
START_SECONDS = 120
SECONDS = 60
OPENING: dict[str, Any] = {"status": "", "busy": True, "open": False, "ids": [], "texts": []}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=[pytest.param("newest", marks=pytest.mark.long), "older"])
def script(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app and its packages, those of one generation, as one script."""
    return bundle(APP, PACKAGES[request.param], into=tmp_path_factory.mktemp("app"))


@dataclass(frozen=True)
class App:
    """The app in one tab."""

    page: Page
    messages: Callable[[], list[dict[str, Any]]]

    def state(self) -> dict[str, Any]:
        """Return what it shows."""
        shown = self.page.locator("pre")
        state: dict[str, Any] = json.loads(shown.inner_text()) if shown.count() else OPENING
        return state

    def do(self, action: str, *arguments: object) -> None:
        """Call the app, as a click would."""
        self.page.evaluate("([action, given]) => window.app[action](...given)", [action, list(arguments)])

    def until(self, condition: Callable[[dict[str, Any]], object], *, seconds: float = SECONDS) -> dict[str, Any]:
        """Wait until the state is as it should be, and return it."""

        def met() -> dict[str, Any]:
            now = self.state()
            return now if condition(now) else {}

        return eventually(met, seconds=seconds)

    def ask(self, text: str) -> None:
        """
        Ask, and wait for the whole answer.

        The client calls itself ready when it hears that nothing is under way, even if it has asked something since: up
        to the first text of the answer that says nothing.
        """
        before = len(self.state()["texts"])
        self.do("send", text)
        self.until(
            lambda now: len(now["texts"]) == before + 2 and now["texts"][-1] and not now["busy"], seconds=START_SECONDS
        )

    def agrees(self) -> None:
        """Whatever happened, in the end it shows what the server has, by the same ids, and is ready."""

        def agree(now: dict[str, Any]) -> bool:
            if now["busy"] or now["status"] != "ready":
                return False
            stored = self.messages()
            texts = ["".join(part.get("text", "") for part in message["parts"]) for message in stored]
            return (now["ids"], now["texts"]) == ([message["id"] for message in stored], texts)

        self.until(agree)


@dataclass
class Thread:
    """A new thread, and tabs of one browser that open it."""

    context: BrowserContext
    stack: StackFile
    name: str
    script: str

    def open(self, *, rules: str = "", page: Page | None = None, **options: object) -> App:
        """Open the app in a new tab; the gateway keeps *rules* for its sockets."""
        page = page or self.context.new_page()
        path = serve(page, self.script)
        _, _, rest = self.stack.ws_url.partition("//")
        host, _, base = rest.partition("/")
        address = {
            "thread": self.name,
            "host": host,
            "path": f"_with/{rules}/{base}" if rules else base,
            "http": self.stack.http_url,
            **options,
        }
        page.goto(f"{self.stack.web_url}{path}#{urlencode(address)}")
        return App(page, self.messages)

    def messages(self) -> list[dict[str, Any]]:
        """Return the stored messages."""
        answer = httpx.get(
            f"{self.stack.http_url}/agents/chat/{self.name}/get-messages",
            headers={"Authorization": f"Bearer {self.token()}"},
            timeout=30,
        )
        messages: list[dict[str, Any]] = answer.raise_for_status().json()
        return messages

    def delete(self) -> None:
        """Delete it, with its sandbox."""
        httpx.delete(
            f"{self.stack.http_url}/api/threads/{self.name}",
            headers={"Authorization": f"Bearer {self.token()}"},
            timeout=30,
        ).raise_for_status()

    def token(self) -> str:
        """Return a token as the page's own backend issues it to this browser."""
        answer = self.context.request.post(f"{self.stack.web_url}/session", data={"thread": self.name})
        token: str = answer.json()["token"]
        return token


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    with profile(browser) as page:
        yield page.context


@contextmanager
def new_thread(context: BrowserContext, stack: StackFile, script: str) -> Iterator[Thread]:
    thread = Thread(context, stack, f"hooks-{uuid.uuid4().hex[:12]}", script)
    yield thread
    for page in context.pages[1:]:
        page.close()
    # Sandboxes that have nothing to do any more take memory, and starting takes the others longer.
    thread.delete()


@pytest.fixture
def thread(context: BrowserContext, stack: StackFile, script: str) -> Iterator[Thread]:
    with new_thread(context, stack, script) as thread:
        yield thread


@pytest.mark.long
def test_history_is_asked_again_edited_and_cleared(thread: Thread) -> None:
    """In the tab where it is done and in another one, which both show what the server has."""
    app = thread.open()
    app.until(lambda now: now["open"])
    app.ask("say one")
    other = thread.open()
    other.until(lambda now: now["open"] and len(now["texts"]) == 2)
    app.ask("how many messages?")
    app.agrees()
    other.agrees()

    answer = app.state()["ids"][-1]
    app.do("regenerate")
    app.until(lambda now: now["ids"][-1] != answer and not now["busy"] and len(now["ids"]) == 4)
    app.agrees()
    other.agrees()

    question = app.state()["ids"][2]
    app.do("send", "say edited", question)
    app.until(lambda now: now["texts"][2:] == ["say edited", "edited"])
    app.agrees()
    other.agrees()

    app.do("clear")
    app.agrees()
    other.agrees()
    assert [] == app.state()["ids"]
    app.ask("say anew")
    assert ["say anew", "anew"] == app.state()["texts"]


def test_answer_is_stopped_and_what_was_said_is_kept(thread: Thread) -> None:
    """It ends at once, and is the same after a reload."""
    app = thread.open()
    app.until(lambda now: now["open"])
    app.ask("say hello")
    app.do("send", "slow 60: a long story")
    app.until(lambda now: len(now["texts"]) == 4 and now["texts"][3])
    app.do("stop")
    app.agrees()
    stopped = app.state()["texts"]

    app.page.reload()
    assert stopped == app.until(lambda now: len(now["texts"]) == 4)["texts"]


def test_answer_goes_on_after_a_reload(thread: Thread) -> None:
    """The page that comes back shows it from its beginning, and to its end; so does another tab."""
    app = thread.open()
    app.until(lambda now: now["open"])
    app.ask("say hello")
    app.do("send", "stream 120 words every 50 ms")
    app.until(lambda now: len(now["texts"]) == 4 and now["texts"][3])
    app.page.reload()
    other = thread.open()
    words = " ".join(f"word{n}" for n in range(1, 121))

    for tab in (app, other):
        tab.until(lambda now: now["texts"][3:] and " ".join(now["texts"][3].split()) == words)
        tab.agrees()


@pytest.mark.long
@pytest.mark.parametrize("words", [150, 55], ids=["while it runs", "when it has ended"])
def test_answer_is_whole_when_its_socket_ends(thread: Thread, words: int) -> None:
    """
    The gateway closes the socket in the middle; the client opens another one 3 s later, and shows all of the answer.
    """
    app = thread.open()
    app.until(lambda now: now["open"])
    app.ask("say hello")
    app.page.close()
    app = thread.open(rules="life_seconds=5")
    app.until(lambda now: now["open"] and len(now["texts"]) == 2)
    app.do("send", f"stream {words} words every 100 ms")
    said = " ".join(f"word{n}" for n in range(1, words + 1))

    app.until(lambda now: now["texts"][3:] and " ".join(now["texts"][3].split()) == said)
    # Also if its socket ended once more, with or just before the answer.
    app.agrees()


@pytest.mark.long
def test_message_that_is_sent_without_a_connection_is_answered(thread: Thread) -> None:
    """The client keeps it until it is connected again."""
    app = thread.open(rules="life_seconds=4")
    app.until(lambda now: now["open"])
    app.ask("say hello")
    app.until(lambda now: not now["open"])
    app.do("send", "say late")

    app.until(lambda now: now["texts"] == ["say hello", "hello", "say late", "late"])
    app.agrees()


@pytest.mark.long
def test_token_is_renewed(thread: Thread) -> None:
    """Another token makes another socket; the conversation goes on."""
    app = thread.open(ttl=1000)
    app.until(lambda now: now["open"])
    app.ask("say hello")
    socket = app.state()["socket"]
    app.do("signIn", thread.token())
    app.until(lambda now: now["socket"] != socket and now["open"])
    app.ask("say again")
    app.agrees()
    assert ["say hello", "hello", "say again", "again"] == app.state()["texts"]


@pytest.mark.long
def test_bad_token_opens_nothing(thread: Thread) -> None:
    """The client tries again and again; with a good one it is let in, and nothing of the thread was shown before."""
    app = thread.open()
    app.until(lambda now: now["open"])
    app.ask("say hello")
    stranger = thread.open(token="garbage", ttl=1000)
    state = stranger.until(lambda now: now["status"])
    assert ([], False) == (state["ids"], state["open"])

    stranger.do("signIn", thread.token())
    stranger.until(lambda now: now["open"])
    stranger.do("send", "say let in")
    stranger.until(lambda now: now["texts"][-1:] == ["let in"])


@pytest.mark.long
def test_one_address_and_a_token_are_enough(thread: Thread) -> None:
    """The thread is in the path of the socket, and its history is found below that."""
    app = thread.open(edge=urlsplit(thread.stack.edge_url).netloc)
    app.until(lambda now: now["open"])
    app.ask("say hello")
    app.page.reload()
    app.until(lambda now: now["open"] and now["texts"] == ["say hello", "hello"])
    app.ask("say again")
    app.agrees()


@pytest.mark.long
def test_tool_that_is_allowed_does_its_work(thread: Thread) -> None:
    """What asks first waits; allowed, it goes on in the same answer."""
    app = thread.open()
    app.until(lambda now: now["open"])
    app.do("send", "run: rm -rf nothing-of-that-name")
    app.until(lambda now: now["waits"], seconds=START_SECONDS)
    app.do("approve", True)
    app.agrees()
    state = app.state()
    assert (["output-available"], 2) == (state["tools"], len(state["ids"]))
