"""The identity provider's wire: device codes, tokens, the browser's redirect, and what a model says for a token."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from local.idp.app import create_app
from local.idp.grants import challenge_of
from local.idp.tokens import JWT_PREFIX, REFRESH_PREFIX
from local.idp.wire import CLIENT_ID, DEVICE_REDIRECT

ACCOUNT = "account-1"
REDIRECT = "http://localhost:1455/auth/callback"
VERIFIER = "v" * 43
AUTHORIZE = {
    "response_type": "code",
    "client_id": CLIENT_ID,
    "redirect_uri": REDIRECT,
    "scope": "openid profile email offline_access",
    "code_challenge": challenge_of(VERIFIER),
    "code_challenge_method": "S256",
    "state": "a state",
}


class Client:
    """Calls the provider in-process."""

    def __init__(self, directory: Path, now: Callable[[], float]) -> None:
        self.directory = directory
        self._now = now
        self.restart()

    def restart(self) -> None:
        async def at_once(_: float) -> None:
            return None

        app = create_app(
            directory=self.directory, account_id=ACCOUNT, interval=5, access_seconds=600, delay=0.01,
            now=self._now, sleep=at_once,
        )  # fmt: skip
        self._transport = httpx.ASGITransport(app)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://127.0.0.1:21004") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def user_code(self) -> dict[str, str]:
        answer = self.post("/api/accounts/deviceauth/usercode", json={"client_id": CLIENT_ID})
        code: dict[str, str] = answer.raise_for_status().json()
        return code

    def poll(self, code: dict[str, str]) -> httpx.Response:
        body = {"device_auth_id": code["device_auth_id"], "user_code": code["user_code"]}
        return self.post("/api/accounts/deviceauth/token", json=body)

    def decide(self, decision: str, user_code: str, **more: str) -> httpx.Response:
        return self.post(f"/codex/device/{decision}", json={"user_code": user_code, **more})

    def token(self, **form: str) -> httpx.Response:
        return self.post("/oauth/token", data={"client_id": CLIENT_ID, **form})

    def exchange(self, polled: dict[str, str], **form: str) -> httpx.Response:
        wanted = {"code": polled["authorization_code"], "code_verifier": polled["code_verifier"]}
        return self.token(grant_type="authorization_code", **({"redirect_uri": DEVICE_REDIRECT} | wanted | form))

    def refresh(self, refresh_token: str) -> httpx.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token)

    def revoke(self, token: str, **body: str) -> httpx.Response:
        asked = {"token": token, "token_type_hint": "refresh_token", "client_id": CLIENT_ID}
        return self.post("/oauth/revoke", json=asked | body)

    def sign_in(self, **more: str) -> dict[str, Any]:
        code = self.user_code()
        self.decide("approve", code["user_code"], **more).raise_for_status()
        tokens: dict[str, Any] = self.exchange(self.poll(code).json()).raise_for_status().json()
        return tokens

    def ask(self, access_token: str, body: object, *, account: str = ACCOUNT) -> httpx.Response:
        headers = {"authorization": f"Bearer {access_token}", "chatgpt-account-id": account}
        return self.post("/backend-api/codex/responses", json=body, headers=headers)

    def journal(self, endpoint: str) -> list[dict[str, Any]]:
        return [entry for entry in self.get("/journal").json() if entry["endpoint"] == endpoint]

    def outcomes(self, endpoint: str) -> list[str]:
        return [entry["outcome"] for entry in self.journal(endpoint)]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
def client(tmp_path, clock) -> Client:
    return Client(tmp_path, clock)


def test_a_code_is_pending_until_it_is_approved(client):
    """
    403 until then; afterwards tokens whose claims name the account.
    """
    code = client.user_code()
    assert (code["interval"], len(code["user_code"])) == ("5", 9)
    assert refusal(client.poll(code)) == (403, "authorization_pending")

    approved = client.decide("approve", code["user_code"])
    assert approved.json() == {"user_code": code["user_code"], "status": "approved", "account_id": ACCOUNT}
    tokens = client.exchange(client.poll(code).json()).json()

    assert tokens["expires_in"] == 600
    for name in ("access_token", "id_token"):
        claims = jwt.decode(tokens[name], options={"verify_signature": False})
        assert claims["chatgpt_account_id"] == ACCOUNT
        assert claims["https://api.openai.com/auth"]["chatgpt_account_id"] == ACCOUNT


def test_a_denied_code_ends_the_poll(client):
    """
    Not 403, which would mean "again".
    """
    code = client.user_code()
    assert client.decide("deny", code["user_code"]).json()["status"] == "denied"
    assert refusal(client.poll(code)) == (400, "access_denied")


def test_a_code_lives_for_a_quarter_of_an_hour(client, clock):
    """
    Then it can neither be approved nor redeemed, even if it was approved before.
    """
    waiting, approved = client.user_code(), client.user_code()
    client.decide("approve", approved["user_code"])

    clock.time += 900

    assert refusal(client.poll(waiting)) == (400, "expired_token")
    assert refusal(client.poll(approved)) == (400, "expired_token")
    assert client.decide("approve", waiting["user_code"]).status_code == 404


def test_a_code_is_redeemed_once(client):
    """
    A second poll loop that finds it redeemed ends.
    """
    code = client.user_code()
    client.decide("approve", code["user_code"])
    assert client.poll(code).status_code == 200
    assert refusal(client.poll(code)) == (400, "expired_token")


def test_a_code_alone_redeems_nothing(client):
    """
    Who saw the code on a screen does not know what the program knows.
    """
    code = client.user_code()
    client.decide("approve", code["user_code"])
    assert refusal(client.poll({**code, "device_auth_id": "deviceauth_guessed"})) == (400, "expired_token")


def test_a_code_is_typed_as_people_type(client):
    """
    In small letters, without its dash, with a space.
    """
    code = client.user_code()
    typed = " " + code["user_code"].lower().replace("-", " ")
    assert client.decide("approve", typed).status_code == 200


def test_a_decision_may_be_repeated_but_not_changed(client):
    """
    A double click changes nothing; another decision, or another account, comes too late.
    """
    code = client.user_code()["user_code"]
    assert [client.decide("approve", code, account_id="mine").status_code for _ in range(2)] == [200, 200]
    assert client.decide("deny", code).json()["code"] == "conflict"
    assert client.decide("approve", code, account_id="other").status_code == 409
    assert client.decide("approve", "NOPE-0000").status_code == 404
    assert client.decide("approve", code, account_id="<b>").status_code == 422


def test_another_account_may_approve(client):
    """
    The tokens are that account's.
    """
    tokens = client.sign_in(account_id="account-2")
    assert jwt.decode(tokens["access_token"], options={"verify_signature": False})["chatgpt_account_id"] == "account-2"


@pytest.mark.parametrize(
    "wrong",
    [{"code_verifier": "x" * 43}, {"redirect_uri": REDIRECT}, {"code": "ac_guessed"}, {"code_verifier": ""}],
    ids=["verifier", "redirect", "code", "no verifier"],
)
def test_a_code_is_exchanged_only_as_it_was_made(client, wrong):
    """
    With its verifier (PKCE) and its redirect.
    """
    code = client.user_code()
    client.decide("approve", code["user_code"])
    polled = client.poll(code).json()
    assert refusal(client.exchange(polled, **wrong)) == (400, "invalid_grant")
    assert client.exchange(polled).status_code == 200


def test_a_code_that_comes_twice_takes_back_what_it_gave(client):
    """
    Somebody else has it, too (RFC 6749, 4.1.2).
    """
    code = client.user_code()
    client.decide("approve", code["user_code"])
    polled = client.poll(code).json()
    tokens = client.exchange(polled).json()

    assert refusal(client.exchange(polled)) == (400, "invalid_grant")
    assert refusal(client.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


def test_a_refresh_token_is_good_for_one_use(client):
    """
    Its second use kills the grant: the tokens that the first one gave are gone, too.
    """
    first = client.sign_in()
    second = client.refresh(first["refresh_token"]).json()
    assert client.ask(second["access_token"], {"model": "gpt", "input": "say hi"}).status_code == 200

    assert refusal(client.refresh(first["refresh_token"])) == (400, "refresh_token_reused")

    assert refusal(client.refresh(second["refresh_token"])) == (400, "invalid_grant")
    assert client.ask(second["access_token"], {"model": "gpt", "input": "say hi"}).status_code == 401
    assert client.outcomes("oauth_token") == ["ok", "ok", "refresh_token_reused", "invalid_grant"]


@pytest.mark.parametrize("which", ["used refresh_token", "refresh_token", "access_token"])
def test_a_revoked_grant_is_gone_with_all_its_tokens(client, which):
    """
    Whichever of its tokens is named, and however often; another grant of the same account goes on.
    """
    first, other = client.sign_in(), client.sign_in()
    second = client.refresh(first["refresh_token"]).json()
    token = first["refresh_token"] if which.startswith("used") else second[which]

    assert [client.revoke(token).status_code for _ in range(2)] == [200, 200]

    assert refusal(client.refresh(second["refresh_token"])) == (400, "invalid_grant")
    for tokens in (first, second):
        assert client.ask(tokens["access_token"], {"model": "gpt", "input": "say hi"}).status_code == 401
    assert client.ask(other["access_token"], {"model": "gpt", "input": "say hi"}).status_code == 200
    told, granted = client.journal("revoke")[0], client.journal("oauth_token")[0]
    assert (told["outcome"], told["grant_id"]) == ("ok", granted["grant_id"])


def test_a_token_that_nobody_knows_is_as_good_as_revoked(client, clock):
    """
    RFC 7009, 2.2: its caller has what it wanted. Who is no client here, or names no token, is refused.
    """
    expired = client.sign_in()
    clock.time += 600
    for token in ("rt_guessed", "no.to.ken", expired["access_token"], ""):
        assert client.revoke(token).status_code == 200
    assert {entry["grant_id"] for entry in client.journal("revoke")} == {None}

    assert refusal(client.revoke(expired["refresh_token"], client_id="stranger")) == (401, "invalid_client")
    assert refusal(client.post("/oauth/revoke", json={"client_id": CLIENT_ID})) == (400, "invalid_request")
    assert client.refresh(expired["refresh_token"]).status_code == 200


def test_a_revocation_outlives_the_process(client):
    """
    It is in the file before it is answered.
    """
    tokens = client.sign_in()
    client.revoke(tokens["refresh_token"])

    client.restart()

    assert refusal(client.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


def test_a_revocation_may_fail(client):
    """
    It can be ordered to, as the other endpoints can; then nothing is revoked.
    """
    tokens = client.sign_in()
    fault(client, endpoint="revoke", mode="500", times=1)
    assert client.revoke(tokens["refresh_token"]).status_code == 500
    assert client.refresh(tokens["refresh_token"]).status_code == 200
    assert client.outcomes("revoke") == ["500"]


def test_grants_outlive_the_process(client):
    """
    A stack that comes up again has its grants, as its table has them, and no token can be used a second time.
    """
    first = client.sign_in()
    second = client.refresh(first["refresh_token"]).json()

    client.restart()

    assert client.ask(second["access_token"], {"model": "gpt", "input": "say hi"}).status_code == 200
    assert refusal(client.refresh(first["refresh_token"])) == (400, "refresh_token_reused")
    kept = (client.directory / "grants.json").read_text()
    assert first["refresh_token"] not in kept


def test_only_known_clients_and_grant_types_are_served(client):
    """
    Errors have the codes of the standard.
    """
    stranger = client.post("/api/accounts/deviceauth/usercode", json={"client_id": "stranger"})
    assert refusal(stranger) == (401, "invalid_client")
    assert refusal(client.token(grant_type="password")) == (400, "unsupported_grant_type")
    assert refusal(client.post("/api/accounts/deviceauth/token", content=b"{")) == (400, "invalid_request")
    assert refusal(client.post("/oauth/token", content=b"\xff\xfe=")) == (401, "invalid_client")


def test_a_model_answers_for_a_valid_token_alone(client, clock):
    """
    401 without a token, with a wrong one, in another account's name, and when its time is over.
    """
    access = client.sign_in()["access_token"]
    body = {"model": "gpt", "input": "say hi"}
    assert client.ask(access, body).status_code == 200

    assert client.post("/backend-api/codex/responses", json=body).status_code == 401
    assert refusal(client.ask("no.to.ken", body)) == (401, "invalid_token")
    assert client.ask(access, body, account="account-2").status_code == 401
    clock.time += 600
    assert client.ask(access, body).status_code == 401


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


def test_an_answer_is_streamed_in_the_apis_words(client):
    """
    Thoughts, then the text, each begun, streamed and ended; the last event has the whole and the usage.
    """
    access = client.sign_in()["access_token"]
    said = [{"role": "user", "content": [{"type": "input_text", "text": "think aloud about boxes"}]}]
    stream = events(client.ask(access, {"model": "gpt", "input": said, "stream": True}))

    assert [event["sequence_number"] for event in stream] == list(range(len(stream)))
    kinds = list(dict.fromkeys(event["type"].removeprefix("response.") for event in stream))
    assert kinds == [
        "created", "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done", "content_part.added",
        "output_text.delta", "output_text.done", "content_part.done", "completed",
    ]  # fmt: skip
    text = "".join(event["delta"] for event in stream if event["type"] == "response.output_text.delta")
    whole = stream[-1]["response"]
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message"]
    assert whole["output"][1]["content"][0]["text"] == text == "I have thought about boxes, and it is good."
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] > 5


def test_a_tool_is_called_and_its_result_is_used(client):
    """
    The arguments come in pieces; the result, as an item of the next request, makes the answer.
    """
    access = client.sign_in()["access_token"]
    asked = {"type": "message", "role": "user", "content": "run: echo a rather long command line"}
    tools = [{"type": "function", "name": "bash", "parameters": {}}, {"type": "web_search"}]
    body = {"model": "gpt", "instructions": "You are a coding agent.", "input": [asked], "tools": tools}

    stream = events(client.ask(access, body))
    pieces = [event["delta"] for event in stream if event["type"] == "response.function_call_arguments.delta"]
    call = stream[-1]["response"]["output"][-1]
    assert json.loads("".join(pieces)) == json.loads(call["arguments"])
    assert (call["name"], len(pieces) > 1) == ("bash", True)

    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "a rather long line"}
    thoughts = {"type": "reasoning", "summary": [], "encrypted_content": "x"}
    answer = events(client.ask(access, {**body, "input": [asked, thoughts, call, result]}))
    assert "a rather long line" in answer[-1]["response"]["output"][-1]["content"][0]["text"]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_model_fails_on_request(client, status):
    """
    As the demo model does, with the same words.
    """
    access = client.sign_in()["access_token"]
    body = {"model": "gpt", "input": f"fail {status} once"}
    assert [client.ask(access, body).status_code for _ in range(2)] == [status, 200]


def test_a_browser_is_sent_back_with_code_and_state(client):
    """
    The page's form redirects to where the program listens; the code is good with the program's verifier alone.
    """
    shown = client.get("/oauth/authorize", params=AUTHORIZE)
    assert shown.status_code == 200
    assert "form-action 'self' http://localhost:1455;" in shown.headers["content-security-policy"]

    sent = client.post("/oauth/authorize/approve", data=AUTHORIZE)
    target = urlsplit(sent.headers["location"])
    told = {name: values[0] for name, values in parse_qs(target.query).items()}
    assert (sent.status_code, f"{target.scheme}://{target.netloc}{target.path}") == (303, REDIRECT)
    assert told["state"] == "a state"

    form = {"grant_type": "authorization_code", "code": told["code"], "redirect_uri": REDIRECT}
    assert refusal(client.token(**form, code_verifier="w" * 43)) == (400, "invalid_grant")
    assert "refresh_token" in client.token(**form, code_verifier=VERIFIER).json()


def test_a_browser_is_sent_back_with_a_refusal(client):
    """
    As RFC 6749, 4.1.2.1 has it.
    """
    sent = client.post("/oauth/authorize/deny", data=AUTHORIZE)
    told = parse_qs(urlsplit(sent.headers["location"]).query)
    assert (told["error"], told["state"]) == (["access_denied"], ["a state"])


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "https://evil.example/auth/callback"},
        {"redirect_uri": "http://localhost:1455@evil.example/auth/callback"},
        {"redirect_uri": "http://localhost.evil.example/auth/callback"},
        {"redirect_uri": "http://localhost:1455/elsewhere"},
        {"client_id": "stranger"},
        {"code_challenge_method": "plain"},
        {"state": ""},
    ],
    ids=str,
)
def test_nobody_is_sent_to_another_place(client, change):
    """
    What is not as the client was registered gets a page, never a redirect.
    """
    wrong = AUTHORIZE | change
    for answer in (client.get("/oauth/authorize", params=wrong), client.post("/oauth/authorize/approve", data=wrong)):
        assert (answer.status_code, "location" in answer.headers) == (400, False)


def test_the_page_offers_the_waiting_code(client):
    """
    The only one that waits is filled in; what a link names comes first, and is text.
    """
    code = client.user_code()["user_code"]
    page = client.get("/codex/device")
    assert f'value="{code}"' in page.text
    assert "script" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert '"&quot;&gt;&lt;b&gt;"' in client.get("/codex/device", params={"user_code": '"><b>'}).text


def test_a_form_is_answered_with_a_page(client):
    """
    The two buttons post a form; an empty account is the usual one.
    """
    code = client.user_code()
    approved = client.post("/codex/device/approve", data={"user_code": code["user_code"], "account_id": ""})
    assert (approved.status_code, ACCOUNT in approved.text) == (200, True)
    assert approved.headers["content-type"].startswith("text/html")
    assert client.poll(code).status_code == 200
    assert client.post("/codex/device/deny", data={"user_code": "NOPE-0000"}).status_code == 404


@pytest.mark.parametrize("path", ["/codex/device/approve", "/oauth/authorize/approve"])
def test_another_sites_form_decides_nothing(client, path):
    """
    Nor does one from a page that was opened from a file; nor may a foreign name reach the provider.
    """
    code = client.user_code()
    for origin in ("https://evil.example", "null"):
        sent = client.post(path, data={"user_code": code["user_code"]} | AUTHORIZE, headers={"origin": origin})
        assert sent.status_code == 403
    assert refusal(client.poll(code)) == (403, "authorization_pending")
    assert client.get("/codex/device", headers={"host": "evil.example"}).status_code == 400


def fault(client: Client, **order: object) -> int:
    return client.post("/faults", json=order).status_code


@pytest.mark.parametrize(("mode", "status"), [("429", 429), ("500", 500), ("garbage", 200)])
def test_an_endpoint_fails_as_often_as_ordered(client, mode, status):
    """
    The others go on; the journal tells which calls failed.
    """
    assert fault(client, endpoint="usercode", mode=mode, times=2) == 204
    ask = {"json": {"client_id": CLIENT_ID}}
    answers = [client.post("/api/accounts/deviceauth/usercode", **ask) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert client.outcomes("usercode") == [mode, mode, "ok"]
    assert answers[2].json()["user_code"]


def test_a_fault_lasts_until_it_is_taken_back(client):
    """
    Without a number there is no end to it.
    """
    code = client.user_code()
    fault(client, endpoint="token", mode="500")
    assert [client.poll(code).status_code for _ in range(3)] == [500] * 3
    fault(client, endpoint="token", mode="ok")
    assert client.poll(code).status_code == 403


def test_a_slow_endpoint_answers_late(client):
    """
    It answers as ever, after that time.
    """
    fault(client, endpoint="usercode", mode="slow", seconds=0.2)
    start = time.monotonic()
    assert client.user_code()["user_code"]
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("order", [{}, {"endpoint": "nothing", "mode": "500"}, {"endpoint": "token", "mode": "odd"}])
def test_an_order_that_cannot_be_is_refused(client, order):
    """
    A test that misspells it fails at once.
    """
    assert fault(client, **order) == 422


def test_the_life_of_access_tokens_can_be_changed(client, clock):
    """
    Those that are issued from then on live so long, and say so; those that are out keep their end.
    """
    before = client.sign_in()
    assert client.post("/settings", json={"access_seconds": 20}).status_code == 204
    short = client.refresh(before["refresh_token"]).json()
    assert (short["expires_in"], expiry(short)) == (20, int(clock.time) + 20)

    clock.time += 20

    assert client.ask(short["access_token"], {"model": "gpt", "input": "say hi"}).status_code == 401
    assert client.ask(before["access_token"], {"model": "gpt", "input": "say hi"}).status_code == 200
    client.post("/settings", json={"access_seconds": None})
    usual = client.refresh(short["refresh_token"]).json()
    assert (usual["expires_in"], expiry(usual)) == (600, int(clock.time) + 600)


def expiry(tokens: dict[str, Any]) -> int:
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    return int(claims["exp"])


@pytest.mark.parametrize("order", [{}, {"access_seconds": 0}, {"access_seconds": 20, "refresh_seconds": 1}])
def test_a_setting_that_cannot_be_is_refused(client, order):
    """
    And nothing changes.
    """
    assert client.post("/settings", json=order).status_code == 422
    assert client.sign_in()["expires_in"] == 600


def test_every_token_is_known_by_how_it_begins(client):
    """
    A search for the two prefixes finds each token that was ever issued; what other JWTs begin with is not one of them.
    """
    first = client.sign_in()
    for tokens in (first, client.refresh(first["refresh_token"]).json()):
        assert tokens["access_token"].startswith(f"{JWT_PREFIX}.")
        assert tokens["id_token"].startswith(f"{JWT_PREFIX}.")
        assert tokens["refresh_token"].startswith(REFRESH_PREFIX)
        assert jwt.get_unverified_header(tokens["access_token"])["kid"] == "local-idp"
    assert REFRESH_PREFIX.startswith("rt_")
    assert not jwt.encode({}, "k" * 32, algorithm="HS256", headers={"kid": "current"}).startswith(JWT_PREFIX)


def test_the_journal_holds_no_secret(client):
    """
    It tells who called what and what came of it; none of the tokens.
    """
    tokens = client.sign_in()
    client.refresh(tokens["refresh_token"])
    journal = client.get("/journal").text
    assert not [name for name in ("access_token", "id_token", "refresh_token") if tokens[name] in journal]
    assert ACCOUNT in journal
