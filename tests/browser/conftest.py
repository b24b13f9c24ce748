"""A browser for the tests of the page, and the page served as it is locally, in front of a fake chat."""

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright
from starlette.applications import Starlette

from local.web import DIST, Addresses, create_app
from tests.browser.fake_chat import FakeChat
from tests.stacks import run_stack

# As root Chromium needs --no-sandbox. A page that a test makes up has no address, and may call loopback only without
# those checks. The rest keeps it from calling out.
FLAGS = [
    "--no-sandbox",
    "--disable-features=LocalNetworkAccessChecks",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeStack:
    """The page's address, and the chat behind it."""

    web_url: str
    chat: FakeChat


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium. Without it the tests are skipped, but under CI they fail."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        reason = "no Chromium: install it (Debian: apt install chromium) or name it in CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


# For one file at a time: while it is open, Playwright keeps an event loop running in this thread.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with profile(browser) as page:
        yield page


@contextmanager
def profile(browser: Browser) -> Iterator[Page]:
    """A new browser profile with one page. An uncaught error, or a breach of the page's policy, fails in the end."""
    with browser.new_context(viewport={"width": 1200, "height": 760}) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        expect.set_options(timeout=20_000)
        problems: list[str] = []
        page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " event => console.error('policy: ' + event.effectiveDirective + ' ' + event.blockedURI))"
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if is_violation(message.text) else None)
        yield page
        assert problems == []


def is_violation(text: str) -> bool:
    """Whether the console says that the page broke its own policy."""
    return text.startswith("policy: ")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state directory of a stack of the module's own: what happens to it would be missed by others."""
    state = tmp_path_factory.mktemp("stack")
    yield state
    assert run_stack("down", state=state).returncode == 0


@pytest.fixture
def fake_stack() -> Iterator[FakeStack]:
    """The real page and its real backend, in front of a fake chat."""
    if not (DIST / "index.html").exists():
        pytest.fail("the page is not built: npm ci && npm run build in webapp")
    chat = FakeChat()
    with listening() as page_socket, listening() as chat_socket:
        page, backend = (f"127.0.0.1:{each.getsockname()[1]}" for each in (page_socket, chat_socket))
        addresses = Addresses(
            http_url=f"http://{backend}/http", ws_url=f"ws://{backend}/ws/live", web_url=f"http://{page}"
        )
        key = {"kid": "test", "key": "a key of no less than thirty-two bytes"}
        app = create_app(addresses=addresses, signing_key=lambda: key, dist=Path(DIST))
        with served(app, page_socket), served(chat.app(addresses.web_url), chat_socket):
            yield FakeStack(web_url=addresses.web_url, chat=chat)


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@contextmanager
def served(app: Starlette, on: socket.socket) -> Iterator[None]:
    """The application, answering in a thread of its own until the end of the block."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [on]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
