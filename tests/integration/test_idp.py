"""The local identity provider, as the real OpenCode finds it through the proxy."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from local.idp.wire import CLIENT_ID
from tests.integration.providers import OpenCode, Provider, opencode, provider
from tests.networks import UNSHARE, networks_work
from tests.stacks import ROOT
from tests.waiting import eventually


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("idp"), "--access-seconds", "600") as running:
        yield running


@pytest.fixture(scope="module")
def code(idp: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenCode]:
    with opencode(tmp_path_factory.mktemp("opencode"), idp) as running:
        yield running


def said(message: dict) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def test_opencode_signs_in_by_device_code_and_gets_an_answer(idp: Provider, code: OpenCode, tmp_path: Path) -> None:
    """
    Code, approval, tokens, and a turn of a Codex model that uses a tool and thinks.
    """
    code.sign_in(idp)
    assert code.auth()["openai"]["accountId"] == idp.journal("oauth_token")[-1]["account_id"]

    assert "That was message 1" in said(code.ask("what a day"))
    assert "one two" in said(code.ask("run: echo one two"))
    thinking = code.ask("think aloud about boxes")
    assert "boxes" in next(part["text"] for part in thinking["parts"] if part["type"] == "reasoning")
    assert set(idp.outcomes("responses")) == {"ok"}


@pytest.mark.parametrize("mode", ["429", "500", "garbage", "down"])
def test_a_provider_that_fails_starts_no_sign_in(idp: Provider, code: OpenCode, mode: str) -> None:
    """
    OpenCode answers 500 whatever the reason, and works again when the provider does.
    """
    idp.fault("usercode", mode)
    try:
        answer = code.authorize()
    finally:
        idp.fault("usercode", "ok")
    assert (answer.status_code, answer.json()["name"]) == (500, "UnknownError")
    assert mode in idp.outcomes("usercode")
    assert code.user_code()


def test_a_slow_provider_is_waited_for(idp: Provider, code: OpenCode) -> None:
    """
    The answer comes as late as the provider's.
    """
    idp.fault("usercode", "slow", seconds=1, times=1)
    start = time.monotonic()
    assert code.user_code()
    assert time.monotonic() - start >= 1


def test_a_denied_code_ends_the_sign_in(idp: Provider, code: OpenCode) -> None:
    """
    OpenCode answers 400; it cannot tell why.
    """
    idp.deny(code.user_code())
    assert_failed(code.callback())
    assert idp.outcomes("token")[-1] == "access_denied"


def test_a_limit_ends_the_sign_in(idp: Provider, code: OpenCode) -> None:
    """
    429 while polling looks as a denial does.
    """
    code.user_code()
    idp.fault("token", "429", times=1)
    assert_failed(code.callback())


def test_a_failing_exchange_is_an_error_of_opencode(idp: Provider, code: OpenCode) -> None:
    """
    Approved, but the tokens do not come: 500.
    """
    idp.approve(code.user_code())
    idp.fault("oauth_token", "500", times=1)
    answer = code.callback()
    assert (answer.status_code, answer.json()["name"]) == (500, "UnknownError")


def test_a_poll_loop_is_seen_in_the_journal(idp: Provider, code: OpenCode) -> None:
    """
    It polls at once and goes on until the code is approved, though whoever asked for it went away.
    """
    user_code = code.user_code()
    with pytest.raises(httpx.ReadTimeout):
        code.client.post("/provider/openai/oauth/callback", json={"method": 1}, timeout=1)

    def polls() -> list[str]:
        return [entry["outcome"] for entry in idp.journal("token") if entry["user_code"] == user_code]

    assert polls() == ["authorization_pending"]
    idp.approve(user_code)
    eventually(lambda: polls() == ["authorization_pending", "ok"])


def test_an_expired_access_token_is_refreshed_once(idp: Provider, code: OpenCode) -> None:
    """
    The refresh token is used up by it: with the old one no turn gets an answer, and the grant is gone.
    """
    code.sign_in(idp)
    first = code.auth()
    expired = {"openai": {**first["openai"], "expires": 0}}
    code.write_auth(expired)
    assert "You said" in said(code.ask("what a day"))
    second = code.auth()["openai"]
    assert second["refresh"] != first["openai"]["refresh"]
    assert second["expires"] > time.time() * 1000

    code.write_auth(expired)
    failed = code.ask("what a night")
    assert "Token refresh failed: 400" in failed["info"]["error"]["data"]["message"]
    refreshes = [entry["outcome"] for entry in idp.journal("oauth_token") if entry["grant_type"] == "refresh_token"]
    assert refreshes[-2:] == ["ok", "refresh_token_reused"]


def test_what_was_handled_may_not_be_heard_of(idp: Provider) -> None:
    """
    The refresh token is used up, though its caller got no answer: with its next use the grant is gone.
    """
    tokens = idp.tokens()
    idp.fault("oauth_token", "lost", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        idp.refresh(tokens["refresh_token"])

    answer = idp.refresh(tokens["refresh_token"])

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "refresh_token_reused")
    assert idp.outcomes("oauth_token")[-2:] == ["lost", "refresh_token_reused"]


def test_a_grant_is_revoked_though_nobody_hears_of_it(idp: Provider) -> None:
    """
    As with tokens: the caller who asks again is told that it is done.
    """
    tokens = idp.tokens()
    idp.fault("revoke", "lost", times=1)
    body = {"token": tokens["refresh_token"], "client_id": CLIENT_ID}
    with pytest.raises(httpx.RemoteProtocolError):
        idp.client.post("/oauth/revoke", json=body)

    assert idp.refresh(tokens["refresh_token"]).json()["error"]["code"] == "invalid_grant"
    assert idp.client.post("/oauth/revoke", json=body).status_code == 200
    assert idp.outcomes("revoke")[-2:] == ["lost", "ok"]


def test_opencode_has_no_answer_when_it_is_lost(idp: Provider, code: OpenCode) -> None:
    """
    The connection ends through the proxy, too, and at once.
    """
    idp.fault("usercode", "lost", times=1)
    start = time.monotonic()
    assert code.authorize().status_code == 500
    assert time.monotonic() - start < 10
    assert idp.outcomes("usercode")[-1] == "lost"


def test_other_hosts_are_reached_through_the_proxy(idp: Provider) -> None:
    """
    As they are: no certificate of ours comes in between. Only the provider's own end here.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(open_tunnel(idp, listener)) as near:
        far, _ = listener.accept()
        with far:
            near.sendall(b"ping")
            assert far.recv(4) == b"ping"
            far.sendall(b"pong")
            far.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: near.recv(16), b"")) == b"pong"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET http://127.0.0.1/ HTTP/1.1", b"405"),
        ("CONNECT nowhere HTTP/1.1", b"400"),
        ("CONNECT 127.0.0.1:1 HTTP/1.1", b"502"),
        ("hello", b"400"),
    ],
)
def test_the_proxy_says_what_it_does_not_do(idp: Provider, request_line: str, status: bytes) -> None:
    """
    With a status, and the end of the connection.
    """
    with closing(connect(idp)) as near:
        near.sendall(f"{request_line}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: near.recv(4096), b""))
    assert answer.split()[1] == status


def test_the_browsers_sign_in_comes_back_with_a_code(tmp_path: Path) -> None:
    """
    Method 0, in a network of its own: OpenCode's listener is at the same port on every machine.
    """
    if not networks_work():
        pytest.skip("network namespaces do not work here")
    command = [*UNSHARE, sys.executable, "-m", "tests.integration.browser_sign_in", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def assert_failed(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["name"]) == (400, "ProviderAuthOauthCallbackFailed")


def connect(idp: Provider) -> socket.socket:
    address = urlsplit(idp.proxy_url)
    return socket.create_connection((str(address.hostname), address.port), timeout=20)


def open_tunnel(idp: Provider, listener: socket.socket) -> socket.socket:
    near = connect(idp)
    near.sendall(f"CONNECT 127.0.0.1:{listener.getsockname()[1]} HTTP/1.1\r\n\r\n".encode())
    assert near.recv(4096).startswith(b"HTTP/1.1 200 ")
    return near
