"""Signing in with the real OpenCode, at the local identity provider."""

import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from harness import Sandboxd, ScriptedModel, answer_of
from identity_provider import Attempt, IdentityProvider, credentials, eventually
from turns import asked, model_of, restarts, turn_under_way

pytestmark = pytest.mark.facts


@pytest.fixture
def sandboxd(online: Sandboxd, model: ScriptedModel) -> Sandboxd:
    """The sandbox without a sign-in."""
    model.release.clear()
    assert online.call("DELETE", "/sandboxd/providers/openai").status_code == 200
    return online


def test_first_sign_in_counts_for_the_next_prompt(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """Before it the configured model answers, after it the provider's default does, without being named."""
    before = asked(sandboxd)
    attempt = Attempt(sandboxd)
    approved = attempt.sign_in(provider)
    after = asked(sandboxd)

    assert (model_of(before), model_of(after)) == ("default", "openai")
    assert restarts(after) == ["provider connected"]
    assert approved.keys() == {"type", "attempt_id", "status", "account_id", "expires_at"}
    assert (approved["type"], approved["attempt_id"], approved["account_id"]) == ("signin", attempt.id, "acct-1")
    assert (attempt.accept().status_code, attempt.status(0)) == (200, "accepted")
    assert attempt.cancel().json()["status"] == "accepted"
    assert (credentials(sandboxd) or {})["accountId"] == "acct-1"


def test_models_are_listed_as_they_are_with_the_sign_in(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """Whoever asks in the same moment waits until OpenCode has learned of it; so it goes with the way back."""
    Attempt(sandboxd).sign_in(provider)
    connected = sandboxd.call("GET", "/config/providers?wait=10").json()
    sandboxd.call("DELETE", "/sandboxd/providers/openai")
    disconnected = sandboxd.call("GET", "/config/providers?wait=10").json()

    assert ("openai" in connected["default"], "openai" in disconnected["default"]) == (True, False)


def test_disconnect_removes_it(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """The next prompt goes where the first one went; repeated it says that there was nothing."""
    Attempt(sandboxd).sign_in(provider)
    answers = [sandboxd.call("DELETE", "/sandboxd/providers/openai").json() for _ in range(2)]
    turn = asked(sandboxd)

    assert answers == [{"removed": True}, {"removed": False}]
    assert (model_of(turn), credentials(sandboxd)) == ("default", None)
    assert "openai" not in sandboxd.call("GET", "/config/providers").json()["default"]


def test_many_begin_the_same_attempt_once(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """Fifty callers get one answer, and the provider gets one call; so it goes with the wait."""
    attempt = Attempt(sandboxd)
    eventually(lambda: attempt.begin().status_code == 200)
    attempt = Attempt(sandboxd)
    before = len(provider.journal("usercode"))
    with ThreadPoolExecutor(50) as pool:
        answers = {answer.text for answer in pool.map(lambda _: attempt.begin(), range(50))}
        provider.approve(json.loads(next(iter(answers)))["instructions"].removeprefix("Enter code: "))
        follows = {
            answer.status_code
            for answer in pool.map(lambda _: attempt.call("POST", f"/{attempt.id}/callback"), range(50))
        }

    assert (len(answers), len(provider.journal("usercode")) - before) == (1, 1)
    assert (follows, attempt.status()) == ({202}, "approved")
    assert provider.polls(attempt.user_code) == 1


@pytest.mark.parametrize("mode", ["429", "500", "garbage", "down"])
def test_provider_that_gives_no_code_is_unreachable(sandboxd: Sandboxd, provider: IdentityProvider, mode: str) -> None:
    """Nothing began: the same attempt may be tried again."""
    attempt = Attempt(sandboxd)
    eventually(lambda: attempt.begin().status_code == 200)
    attempt = Attempt(sandboxd)
    with provider.fault("usercode", mode):
        refused = attempt.begin()
        unknown = attempt.call("GET", f"/{attempt.id}")
    again = attempt.begin()

    assert (refused.status_code, refused.json()["code"]) == (502, "provider_unreachable")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_signin")
    assert (again.status_code, again.json()["status"]) == (200, "pending")


@pytest.mark.parametrize(
    ("endpoint", "mode", "end"),
    [
        ("token", "500", "denied"),
        ("token", "429", "denied"),
        ("token", "garbage", "failed"),
        ("token", "down", "failed"),
        ("oauth_token", "500", "failed"),
        ("oauth_token", "garbage", "failed"),
        ("oauth_token", "down", "failed"),
    ],
)
def test_provider_that_fails_later_ends_the_attempt(
    sandboxd: Sandboxd, provider: IdentityProvider, endpoint: str, mode: str, end: str
) -> None:
    """As OpenCode tells it; nothing is left to be ended, and nothing is in the file."""
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    provider.approve(attempt.user_code)
    with provider.fault(endpoint, mode):
        attempt.follow()
        ended = attempt.watch()

    assert (ended["status"], ended["account_id"], credentials(sandboxd)) == (end, None, None)
    assert Attempt(sandboxd).begin().status_code == 200


def test_denied(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """The watcher hears of it while it waits; there is nothing to accept then."""
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    attempt.follow()
    eventually(lambda: provider.polls(attempt.user_code))
    provider.deny(attempt.user_code)
    ended = attempt.status()
    refused = attempt.accept()

    assert (ended, refused.status_code, refused.json()["code"]) == ("denied", 409, "conflict")


def test_cancelled_attempt_is_really_ended(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """OpenCode's poll ends, an approval that comes too late gives nothing, and the conversation goes on."""
    before = asked(sandboxd)
    session = sandboxd.call("GET", "/sandboxd/status").json()["session_id"]
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    attempt.follow()
    eventually(lambda: provider.polls(attempt.user_code))
    cancelled = attempt.cancel()
    following = Attempt(sandboxd)
    refused = following.begin()
    provider.approve(attempt.user_code)
    following.begin_when_possible()
    polls = provider.polls(attempt.user_code)
    after = asked(sandboxd)
    messages = sandboxd.call("GET", f"/session/{session}/message").json()
    following.follow()
    provider.approve(following.user_code)

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert (refused.status_code, refused.json()["code"], refused.json()["retry_after"]) == (409, "signin_ending", 3)
    assert before[-1]["n"] < after[0]["n"]
    assert model_of(after) == "default"
    assert len([message for message in messages if message["info"]["role"] == "assistant"]) >= 2
    assert following.status() == "approved"  # a poll of four seconds later
    assert (provider.polls(attempt.user_code), credentials(sandboxd)) == (polls, None)


def test_cancel_cuts_off_no_turn(sandboxd: Sandboxd, provider: IdentityProvider, model: ScriptedModel) -> None:
    """
    The turn ends as it would have, the poll ends after it, and the prompt that follows at once is held and answered.

    An approval that comes before that is in OpenCode's hands: it is taken away again.
    """
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    attempt.follow()
    eventually(lambda: provider.polls(attempt.user_code))
    with turn_under_way(sandboxd, model) as finish:
        attempt.cancel()
        refused = Attempt(sandboxd).begin()
        turn = finish()
    following = asked(sandboxd)
    provider.approve(attempt.user_code)

    assert (refused.status_code, refused.json()["code"]) == (409, "signin_ending")
    assert "opencode.restarted" not in [line["event"]["type"] for line in turn]
    assert (answer_of(turn), restarts(following), answer_of(following)) == ("holding", ["sign-in ended"], "hello")
    assert credentials(sandboxd) is None


def test_late_approval_within_a_turn_is_taken_away(
    sandboxd: Sandboxd, provider: IdentityProvider, model: ScriptedModel
) -> None:
    """The poll ended by itself then, so that nothing is left to be restarted."""
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    attempt.follow()
    eventually(lambda: provider.polls(attempt.user_code))
    with turn_under_way(sandboxd, model) as finish:
        attempt.cancel()
        provider.approve(attempt.user_code)
        eventually(lambda: "nobody wants any more: APPROVED" in sandboxd.log())
        taken = credentials(sandboxd)
        told = attempt.watch(0)
        Attempt(sandboxd).begin_when_possible()
        finish()
    following = asked(sandboxd)

    assert (taken, told["status"], told["account_id"], told["expires_at"]) == (None, "cancelled", None, None)
    assert (restarts(following), model_of(following)) == ([], "default")


def test_deadline(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """Sandboxd's own, whoever watches; the watcher hears of it, and the approval after it gives nothing."""
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    attempt = Attempt(sandboxd, seconds=1)
    assert attempt.begin().status_code == 200
    attempt.follow()
    ended = attempt.status()
    provider.approve(attempt.user_code)
    Attempt(sandboxd).begin_when_possible()

    assert (ended, attempt.accept().status_code, credentials(sandboxd)) == ("timed_out", 404, None)


@pytest.mark.parametrize("exchange_seconds", [0.05, 0.3])
def test_approval_in_the_moment_of_the_restart(
    sandboxd: Sandboxd, provider: IdentityProvider, exchange_seconds: float
) -> None:
    """The tokens are on their way while OpenCode is being ended: whichever comes first, they are nowhere after it."""
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    provider.approve(attempt.user_code)
    before = len(provider.journal("oauth_token"))
    with provider.fault("oauth_token", "slow", seconds=exchange_seconds):
        attempt.follow()
        eventually(lambda: len(provider.journal("oauth_token")) > before)
        ended = attempt.cancel().json()["status"]
        Attempt(sandboxd).begin_when_possible()

    assert (ended, credentials(sandboxd)) == ("cancelled", None)
    assert model_of(asked(sandboxd)) == "default"


def test_approved_and_not_accepted(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """Nothing of it is in OpenCode's file before it is accepted, and cancelled it is gone."""
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    provider.approve(attempt.user_code)
    attempt.follow()
    approved = attempt.status()
    held = credentials(sandboxd)
    cancelled = attempt.cancel().json()

    assert (approved, held) == ("approved", None)
    assert (cancelled["status"], cancelled["account_id"], credentials(sandboxd)) == ("cancelled", None, None)
    assert attempt.accept().json()["code"] == "conflict"
    assert Attempt(sandboxd).begin().status_code == 200


def test_success_cuts_off_no_turn(sandboxd: Sandboxd, provider: IdentityProvider, model: ScriptedModel) -> None:
    """The turn ends with the model it began with; the next prompt, at once, uses the new provider."""
    with turn_under_way(sandboxd, model) as finish:
        Attempt(sandboxd).sign_in(provider)
        turn = finish()
    following = asked(sandboxd)

    assert (answer_of(turn), model_of(turn)) == ("holding", "default")
    assert (restarts(following), model_of(following)) == (["provider connected"], "openai")


def test_another_account_counts_when_it_is_accepted(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """Until then the first is used; then the second, without a dispose."""
    Attempt(sandboxd).sign_in(provider)
    assert model_of(asked(sandboxd)) == "openai"
    second = Attempt(sandboxd)
    second.begin_when_possible()
    provider.approve(second.user_code, account_id="acct-2")
    second.follow()
    approved = second.watch()
    turns = [asked(sandboxd)]
    before = {entry["account_id"] for entry in provider.journal("responses")}
    assert second.accept().status_code == 200
    turns.append(asked(sandboxd))

    assert (approved["status"], approved["account_id"]) == ("approved", "acct-2")
    assert [restarts(turn) for turn in turns] == [[], []]
    assert (before, provider.journal("responses")[-1]["account_id"]) == ({"acct-1"}, "acct-2")


def test_malformed_attempts_are_refused(sandboxd: Sandboxd) -> None:
    """Before anything is asked of OpenCode; what was sent is not repeated."""
    begin: list[dict[str, object]] = [
        {"attempt_id": "a/b", "method": 1, "seconds": 60},
        {"attempt_id": "a", "method": 7, "seconds": 60},
        {"attempt_id": "a", "method": 1, "seconds": 901},
        {"attempt_id": "a", "method": 0, "seconds": 291},
        {"attempt_id": "a", "method": 1, "seconds": 0},
        {},
    ]
    attempt = Attempt(sandboxd)
    answers = [attempt.call("POST", "", body) for body in begin]
    answers += [attempt.call("GET", f"/{attempt.id}?wait=51")]
    answers += [attempt.call("POST", f"/{attempt.id}/redirect", {"code": "canary"})]
    unknown = [
        attempt.call("GET", "/other"),
        attempt.call("DELETE", "/other"),
        attempt.call("POST", "/other/callback"),
        attempt.call("POST", "/other/accept", {"version": 1}),
        attempt.call("POST", "/other/redirect", {"code": "c", "state": "s"}),
    ]

    assert {(422, "invalid_request")} == {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert not any("canary" in answer.text for answer in answers)
    assert {(404, "no_signin")} == {(answer.status_code, answer.json()["code"]) for answer in unknown}


def test_browser_sign_in(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """The redirect is relayed inside; a wrong state ends the attempt; a cancelled one is out of the way."""
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", 1455)) == 0:
            pytest.skip("another listener is on OpenCode's port")
    attempts = [Attempt(sandboxd, method=0) for _ in range(3)]
    urls = []
    for attempt in attempts:
        attempt.begin_when_possible()
        urls.append(attempt.begin().json()["url"])
        attempt.follow()
        if attempt is attempts[0]:
            cancelled = attempt.cancel().json()["status"]
        elif attempt is attempts[1]:
            wrong = attempt.call("POST", f"/{attempt.id}/redirect", {"code": "canary-code", "state": "wrong"})
            failed = attempt.status()
    query = {name: values[0] for name, values in parse_qs(urlsplit(urls[-1]).query).items()}
    back = provider.client.post("/oauth/authorize/approve", data=query).headers["location"]
    came_back = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    relayed = attempts[-1].call("POST", f"/{attempts[-1].id}/redirect", came_back)
    approved = attempts[-1].watch()
    again = attempts[-1].call("POST", f"/{attempts[-1].id}/redirect", came_back)
    log = sandboxd.log()

    assert (cancelled, failed) == ("cancelled", "failed")
    assert (wrong.status_code, wrong.json()["code"]) == (502, "opencode_error")
    assert (relayed.status_code, approved["status"], approved["account_id"]) == (200, "approved", "acct-1")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert not any(secret in log for secret in ("canary-code", came_back["code"]))
