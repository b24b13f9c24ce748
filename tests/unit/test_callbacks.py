"""Waiting for a sign-in over HTTP: hops, preferences, places, and whose token is good for it."""

from urllib.parse import parse_qs

import pytest

from oauth_proxy.signin import Status
from tests.unit.signing_in import THREAD, SigningIn


@pytest.fixture
def signing_in(aws, table, clock):
    signing_in = SigningIn(table, clock)
    signing_in.authorize().raise_for_status()
    return signing_in


def connect(signing_in):
    signing_in.sandbox.status = "approved"
    assert "connected" == signing_in.step("wait")


def follow(signing_in, **options):
    """Follow hops as ``fetch`` does; return the answers."""
    answers = [signing_in.callback(**options)]
    while answers[-1].status_code == 307:
        answers.append(signing_in.callback(answers[-1].headers["location"], **options))
    return answers


def test_waits_and_is_sent_on_to_itself(signing_in):
    """Each hop waits for as long as one request may; its address has no path, and names attempt, hop and place."""
    began = signing_in.clock()
    answer = signing_in.callback()

    assert (307, 25) == (answer.status_code, round(signing_in.clock() - began))
    query = parse_qs(answer.headers["location"].removeprefix("?"))
    assert ([signing_in.row().attempt_id], ["1"]) == (query["attempt"], query["hop"])
    assert query["watcher"][0].startswith("0-")


def test_after_twenty_hops_it_is_told_to_call_again(signing_in):
    """``fetch`` follows no more. The one who called from the start never used more than one place."""
    answers = follow(signing_in)

    assert [307] * 20 + [504] == [answer.status_code for answer in answers]
    assert ("signin_pending", "1") == (answers[-1].json()["code"], answers[-1].headers["retry-after"])
    assert {"0"} == {parse_qs(a.headers["location"][1:])["watcher"][0][0] for a in answers[:-1]}
    assert signing_in.callback("?hop=21").status_code == 422


def test_connected_is_told_with_its_account(signing_in):
    """The answer that OpenCode's own clients get, and a little more."""
    connect(signing_in)
    answer = signing_in.callback()
    assert (200, {"ok": True, "provider": "openai", "account_id": "acct-1"}) == (answer.status_code, answer.json())


def test_connected_is_told_when_the_sandbox_has_it(signing_in):
    """Whoever is told may ask the agent at once; a sandbox that does not say so is not waited for for ever."""
    signing_in.approves()
    signing_in.unsettles()
    began = signing_in.clock()

    assert signing_in.callback().status_code == 200
    assert 4 <= signing_in.clock() - began <= 6


@pytest.mark.parametrize(
    ("status", "code", "http"),
    [
        ("denied", "signin_denied", 403),
        ("timed_out", "signin_timed_out", 504),
        ("cancelled", "signin_cancelled", 409),
        ("abandoned", "signin_abandoned", 410),
        ("mismatch", "account_mismatch", 409),
        ("failed", "opencode_error", 502),
    ],
)
def test_each_end_has_its_answer(signing_in, status, code, http):
    """The table of ends."""
    signing_in.signins.end(THREAD, signing_in.row().attempt_id, Status(status))
    answer = signing_in.callback()
    assert (http, code) == (answer.status_code, answer.json()["code"])


def test_superseded_is_told_to_who_waited_for_it(signing_in):
    """The hop of the attempt before hears that, not what becomes of the new one."""
    location = signing_in.callback().headers["location"]
    signing_in.authorize(0)

    answer = signing_in.callback(location)

    assert (409, "signin_superseded") == (answer.status_code, answer.json()["code"])


def test_deadline_is_told_though_nobody_wrote_it(signing_in):
    """A machine that died takes nobody with it."""
    signing_in.clock.time += 901
    assert (504, "signin_timed_out") == ((a := signing_in.callback()).status_code, a.json()["code"])


@pytest.mark.parametrize(
    ("prefer", "seconds"), [("respond-async", 0), ("wait=4", 4), ("respond-async, wait=4", 4), ("wait=60", 25)]
)
def test_preferences_are_honoured(signing_in, prefer, seconds):
    """The end comes later, over the socket or with the next call."""
    began = signing_in.clock()
    answer = signing_in.callback(prefer=prefer)

    assert (202, seconds) == (answer.status_code, round(signing_in.clock() - began))
    assert {"status": "pending", "attempt_id": signing_in.row().attempt_id, "retry_after": 3} == answer.json()
    assert (prefer, "3") == (answer.headers["preference-applied"], answer.headers["retry-after"])


def test_fourth_call_is_told_to_come_again(signing_in):
    """429 for who would wait, the 202 for who would not."""
    for n in range(3):
        assert signing_in.signins.take_place(signing_in.row(), watcher=f"?-0000000{n}", seconds=25)
    answer = signing_in.callback()

    assert (429, "rate_limited", "5") == (answer.status_code, answer.json()["code"], answer.headers["retry-after"])
    assert signing_in.callback(prefer="respond-async").status_code == 202


def test_without_an_attempt_there_is_none(aws, table, clock):
    """As in OpenCode, where callback needs an authorize before it."""
    answer = SigningIn(table, clock).callback()
    assert (404, "no_signin") == (answer.status_code, answer.json()["code"])


def test_attempt_of_another_method_is_not_waited_for(signing_in):
    """Whoever names the method means that one."""
    assert signing_in.callback(method=0).json()["code"] == "no_signin"


@pytest.mark.parametrize(
    "content", ["", "x{", "[]", '{"method":7}', '{"method":"1x"}', "\udcff", '{"method":0,"code":"c"}']
)
def test_bad_bodies_are_refused(signing_in, content):
    """422, whatever it is."""
    body = content.encode(errors="surrogateescape")
    answer = signing_in.call("POST", "/oauth/callback", content=body, headers={"Content-Type": "application/json"})
    assert (422, "invalid_request") == (answer.status_code, answer.json()["code"])


def test_expired_token_is_good_for_the_hops_of_its_attempt(signing_in):
    """It was good when the call began to wait; for a first call it is not."""
    expired = signing_in.token(life=2, age=10)
    row = signing_in.row().model_copy(update={"created_at": int(signing_in.clock()) - 12, "watched_at": 0})
    signing_in.signins.table.update_item(
        Key={"thread_id": THREAD, "sk": "SIGNIN"}, UpdateExpression="SET created_at = :at",
        ExpressionAttributeValues={":at": row.created_at},
    )  # fmt: skip
    hop = f"?attempt={row.attempt_id}&hop=3"

    assert signing_in.callback(hop, token=expired).status_code == 307
    assert signing_in.callback(f"?attempt={row.attempt_id}", token=expired).status_code == 401
    assert signing_in.callback("?hop=3", token=expired).status_code == 401
    assert signing_in.callback("?attempt=another&hop=3", token=expired).status_code == 401
    assert signing_in.call("GET", "/oauth/attempt?hop=3", token=expired).status_code == 401


def test_token_that_expired_before_the_attempt_is_refused(signing_in):
    """No call with it can have begun to wait."""
    old = signing_in.token(life=60, age=3600)
    assert signing_in.callback(f"?attempt={signing_in.row().attempt_id}&hop=3", token=old).status_code == 401


def test_expired_token_hears_no_more_when_the_attempt_is_long_over(signing_in):
    """What it stays good for has an end as well."""
    token = signing_in.token(life=2, age=0)
    hop = f"?attempt={signing_in.row().attempt_id}&hop=3"
    signing_in.clock.time += 900 + 59
    assert signing_in.callback(hop, token=token).json()["code"] == "signin_timed_out"
    signing_in.clock.time += 2
    assert signing_in.callback(hop, token=token).status_code == 401


@pytest.mark.parametrize(("life", "age", "status"), [(900, 0, 403), (2, 10, 401)])
def test_another_users_token_is_refused_at_any_hop(signing_in, life, age, status):
    """Good or expired: a hop's address is no key."""
    theirs = signing_in.token("bob", life=life, age=age)
    assert signing_in.callback(f"?attempt={signing_in.row().attempt_id}&hop=3", token=theirs).status_code == status


def test_token_of_another_thread_is_refused(signing_in):
    """As everywhere."""
    theirs = signing_in.token(thread="other")
    assert signing_in.callback(f"?attempt={signing_in.row().attempt_id}&hop=3", token=theirs).status_code == 403


def test_waiting_counts_as_watching(signing_in):
    """Each hop says that somebody is there."""
    signing_in.clock.time += 300
    signing_in.callback()
    assert signing_in.row().watched_at >= signing_in.row().created_at + 300


class TestBrowser:
    """The browser's way: what the provider sent back is handed on once."""

    @pytest.fixture
    def signing_in(self, aws, table, clock):
        signing_in = SigningIn(table, clock)
        signing_in.sandbox.url = "https://auth.example/oauth/authorize?client_id=c&state=s1&scope=x"
        signing_in.authorize(0).raise_for_status()
        return signing_in

    def test_answer_of_the_provider_is_handed_on(self, signing_in):
        """And then waited for like any other, by hops that repeat the body."""
        answer = signing_in.callback(method=0, code="c1", state="s1")
        assert (307, 1) == (answer.status_code, signing_in.sandbox.count("POST", "redirect"))
        assert signing_in.callback(answer.headers["location"], method=0, code="c1", state="s1").status_code == 307
        assert signing_in.sandbox.count("POST", "redirect") == 1

    def test_replayed_state_is_refused(self, signing_in):
        """A state is good once."""
        signing_in.callback(method=0, code="c1", state="s1", prefer="respond-async")
        answer = signing_in.callback(method=0, code="c1", state="s1")
        assert (403, "forbidden", 1) == (
            answer.status_code,
            answer.json()["code"],
            signing_in.sandbox.count("POST", "redirect"),
        )

    def test_state_of_another_attempt_is_refused(self, signing_in):
        """It changes nothing: the right one still works."""
        assert signing_in.callback(method=0, code="c1", state="s2").status_code == 403
        assert signing_in.callback(method=0, code="c1", state="s1").status_code == 307

    def test_sandbox_that_does_not_take_it_ends_the_attempt(self, signing_in):
        """The state is spent, so there is nothing to try again."""
        signing_in.control.gone = True
        answer = signing_in.callback(method=0, code="c1", state="s1")
        assert (502, "opencode_error", "failed") == (answer.status_code, answer.json()["code"], signing_in.row().status)

    def test_redirect_only_sends_the_browser_to_the_web_app(self, signing_in):
        """It needs no token and changes nothing."""
        before = signing_in.row()
        answer = signing_in.http.request("GET", "/api/sandbox/opencode-oauth/redirect?code=c%261&state=s1")
        assert (302, "https://app.example/chat?x=1&code=c%261&state=s1") == (
            answer.status_code,
            answer.headers["location"],
        )
        assert "no-store" == answer.headers["cache-control"]
        assert before == signing_in.row()
