"""The page's backend: who gets a token for what, and what the page may load."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from botocore.exceptions import EndpointConnectionError

from local.web import Addresses, create_app

KEY = {"kid": "k1", "key": "a key of no less than thirty-two bytes"}
NOW = 1_800_000_000
WEB = "http://127.0.0.1:21002"
ADDRESSES = Addresses(
    http_url="http://127.0.0.1:21000/http",
    ws_url="ws://127.0.0.1:21000/ws/live",
    web_url=WEB,
    idp_url="http://127.0.0.1:21004",
)


class Browser:
    """Calls the application in-process and keeps its cookies."""

    def __init__(self, dist: Path, signing_key: Any = lambda: KEY, *, demo_model: bool = False) -> None:
        app = create_app(
            addresses=ADDRESSES,
            signing_key=signing_key,
            dist=dist,
            demo_model=demo_model,
            clock=lambda: NOW + 0.7,
        )
        self._transport = httpx.ASGITransport(app)
        self.cookies = httpx.Cookies()

    def get(self, path: str, **options: Any) -> httpx.Response:
        """The answer to a GET."""
        return asyncio.run(self._request("GET", path, **options))

    def ask(self, body: object, **options: Any) -> httpx.Response:
        """The answer to ``POST /session``."""
        return asyncio.run(self._request("POST", "/session", content=json.dumps(body), **options))

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url=WEB, cookies=self.cookies) as client:
            answer = await client.request(method, path, **options)
            self.cookies = client.cookies
            return answer


def claims(answer: httpx.Response) -> dict[str, Any]:
    token = answer.json()["token"]
    options: Any = {"verify_exp": False, "verify_iat": False}
    decoded: dict[str, Any] = jwt.decode(token, KEY["key"], algorithms=["HS256"], audience="threadbox", options=options)
    return decoded


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "assets" / "index-abc.js").write_text("export {};")
    return tmp_path


@pytest.fixture
def browser(dist: Path) -> Browser:
    return Browser(dist)


def test_a_token_is_for_the_thread_and_the_cookies_user(browser: Browser) -> None:
    """
    The token carries what the APIs verify, and lives for 15 minutes from now.
    """
    answer = browser.ask({"thread": "t-1"})

    user = browser.cookies["threadbox_user"]
    assert claims(answer) == {"aud": "threadbox", "thread_id": "t-1", "user_id": user, "iat": NOW, "exp": NOW + 900}
    assert jwt.get_unverified_header(answer.json()["token"]) == {"alg": "HS256", "kid": "k1", "typ": "JWT"}
    assert answer.json()["expires_at"] == NOW + 900


def test_the_user_stays_the_same(browser: Browser, dist: Path) -> None:
    """
    One browser is one user in all its threads; another browser is another.
    """
    first, second = (claims(browser.ask({"thread": name}))["user_id"] for name in ("one", "two"))

    assert first == second
    assert claims(Browser(dist).ask({"thread": "one"}))["user_id"] != first


def test_scripts_cannot_read_the_cookie(browser: Browser) -> None:
    """
    The cookie is HttpOnly and does not travel with other sites' requests.
    """
    cookie = browser.ask({"thread": "t"}).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


@pytest.mark.parametrize("thread", ["", "a/b", "a b", "ü", "x" * 129, "a\n", None, 7, ["t"]], ids=repr)
def test_a_bad_thread_id_is_refused(browser: Browser, thread: object) -> None:
    """
    No token is made for what cannot be a thread.
    """
    answer = browser.ask({"thread": thread})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"thread":"' + b"x" * 100_000 + b'"}'])
def test_a_bad_body_is_refused(browser: Browser, body: bytes) -> None:
    """
    What is no JSON object with a thread, or too large, gets a clear answer.
    """
    answer = asyncio.run(browser._request("POST", "/session", content=body))
    assert answer.status_code == 422


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:21003", WEB + ".evil.example"])
def test_other_sites_get_no_token(browser: Browser, origin: str) -> None:
    """
    A page of another origin cannot ask in the user's name.
    """
    answer = browser.ask({"thread": "t"}, headers={"origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("origin", [WEB, "http://localhost:21002"])
def test_the_page_gets_a_token(browser: Browser, origin: str) -> None:
    """
    The page's own origin passes, under both names of loopback.
    """
    assert browser.ask({"thread": "t"}, headers={"origin": origin}).status_code == 200


def test_a_foreign_host_name_is_refused(browser: Browser) -> None:
    """
    A name that somebody made resolve to loopback does not reach the backend.
    """
    assert browser.get("/config.json", headers={"host": "evil.example"}).status_code == 400


def test_without_the_secret_there_is_no_token(dist: Path) -> None:
    """
    The embedded AWS may be away: the page is told so and can try again.
    """

    def away() -> dict[str, str]:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    answer = Browser(dist, away).ask({"thread": "t"})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


@pytest.mark.parametrize("demo_model", [True, False])
def test_the_page_learns_the_addresses(dist: Path, *, demo_model: bool) -> None:
    """
    The built page holds no address and does not know what answers; it asks.
    """
    answer = Browser(dist, demo_model=demo_model).get("/config.json")
    urls = {"http_url": ADDRESSES.http_url, "ws_url": ADDRESSES.ws_url, "idp_url": ADDRESSES.idp_url}
    assert answer.json() == urls | {"demo_model": demo_model}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/assets/index-abc.js", "/config.json", "/nothing"])
def test_every_answer_is_locked_down(browser: Browser, path: str) -> None:
    """
    The page may load from itself and call the stack, nothing else; errors are no exception.
    """
    headers = browser.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))

    assert policy["default-src"] == "'self'"
    assert policy["connect-src"] == "'self' http://127.0.0.1:21000 ws://127.0.0.1:21000"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_files_with_a_hash_in_their_name_are_kept(browser: Browser) -> None:
    """
    Built assets never change under their name; the page that names them does.
    """
    assert "immutable" in browser.get("/assets/index-abc.js").headers["cache-control"]
    assert browser.get("/").headers["cache-control"] == "no-store"
    assert browser.get("/assets/index-old.js").headers["cache-control"] == "no-store"
