"""Beginning a sign-in: the sandbox first, then one attempt, one call to OpenCode, one execution."""

import pytest

from oauth_proxy.openai import state_of, user_code
from tests.unit.signing_in import THREAD, SigningIn
from threadbox.control import Starting


@pytest.fixture
def signing_in(aws, table, clock):
    return SigningIn(table, clock)


def starting(detail="pulling", times=1):
    return [Starting(state="starting", detail=detail, generation=1)] * times


def test_answer_is_opencodes_and_three_fields_more(signing_in):
    """What its own clients read is there as it is."""
    answer = signing_in.authorize()

    row = signing_in.row()
    assert answer.status_code == 200
    assert answer.json() == {
        "url": "https://auth.example/codex/device",
        "method": "auto",
        "instructions": "Enter code: ABCD-0001",
        "user_code": "ABCD-0001",
        "expires_at": row.expires_at,
        "attempt_id": row.attempt_id,
    }
    assert 900 == row.expires_at - row.created_at
    assert [row.attempt_id] == signing_in.machine.started


@pytest.mark.parametrize(
    ("instructions", "code"),
    [
        ("Enter code: ABCD-0001", "ABCD-0001"),
        ("Enter code: WXYZ-12345", "WXYZ-12345"),
        ("Your code ABC-DEF-123.", "ABC-DEF-123"),
        ("Please look at your phone", None),
        ("code: short", None),
        ("", None),
        (None, None),
    ],
)
def test_code_is_found_in_the_instructions(instructions, code):
    """Where they look otherwise there is none, and nothing fails."""
    assert code == user_code(instructions)


def test_state_is_found_in_the_address():
    """Of the browser's way; a device's has none."""
    assert "s 1" == state_of("https://auth.example/oauth/authorize?a=b&state=s%201")
    assert state_of("https://auth.example/codex/device") is None


def test_second_caller_gets_the_live_attempt(signing_in):
    """Two tabs, or a double click: OpenCode is asked once, and the machine that may have died is started again."""
    first, second = signing_in.authorize(), signing_in.authorize()

    assert first.json() == second.json()
    assert 1 == signing_in.sandbox.count("POST", "start")
    assert 1 == len(set(signing_in.machine.started))


def test_sockets_are_told(signing_in):
    """How far the sandbox is, once for each phase, and that a sign-in waits."""
    signing_in.opens_socket()
    signing_in.control.starting = starting(times=3) + starting("booting", times=2)

    assert signing_in.authorize().status_code == 200
    assert ["pulling", "booting", "ready"] == signing_in.told("data-sandbox")
    assert ["pending"] == signing_in.told()


def test_sandbox_that_got_ready_between_two_hops_is_told(signing_in):
    """Who saw it start is not left with that."""
    signing_in.opens_socket()
    signing_in.control.starting = starting(times=1000)
    location = signing_in.authorize().headers["location"]
    signing_in.control.starting = []

    assert signing_in.call("POST", f"/oauth/authorize{location}", json={"method": 1}).status_code == 200
    assert ["pulling", "ready"] == signing_in.told("data-sandbox")


def test_frame_outside_an_answer_begins_no_message(signing_in):
    """It is done at once: the chat clients pass over it."""
    signing_in.opens_socket()
    signing_in.authorize()
    (frame,) = signing_in.connections.to("c1")
    assert ("cf_agent_use_chat_response", True) == (frame["type"], frame["done"])
    assert frame["id"].startswith("notice-")


def test_sandbox_that_still_starts_sends_the_call_on(signing_in):
    """By hops of their own, which say what was waited for; after the last one it is unavailable."""
    signing_in.control.starting = starting(times=1000)
    began = signing_in.clock()
    answer = signing_in.authorize()

    assert (307, "?start=1&hop=1") == (answer.status_code, answer.headers["location"])
    assert 24 <= signing_in.clock() - began <= 25
    last = signing_in.call("POST", "/oauth/authorize?hop=20", json={"method": 1})
    assert (503, "sandbox_unavailable") == (last.status_code, last.json()["code"])


def test_respond_async_does_not_wait_for_the_sandbox(signing_in):
    """202, and how far it is."""
    signing_in.control.starting = starting()
    answer = signing_in.authorize(prefer="respond-async")
    assert (202, "starting", "pulling") == (answer.status_code, answer.json()["status"], answer.json()["detail"])
    assert [] == signing_in.pauses
    assert signing_in.authorize(prefer="respond-async").status_code == 200


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ((502, {"code": "provider_unreachable"}), 502, "provider_unreachable"),
        ((409, {"code": "method_unavailable", "message": "Not here."}), 409, "method_unavailable"),
        ((500, {"code": "internal", "message": "a vendor's text"}), 502, "opencode_error"),
        ((200, {"url": 7}), 502, "opencode_error"),
    ],
)
def test_attempt_that_cannot_begin_has_failed(signing_in, refusal, status, code):
    """It is told, nothing of it is left under way, and a new one may begin."""
    signing_in.sandbox.refusal = refusal
    answer = signing_in.authorize()

    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert "vendor" not in answer.text
    assert ("failed", 1) == (signing_in.row().status, signing_in.sandbox.count("DELETE", ""))
    assert [] == signing_in.machine.started
    signing_in.sandbox.refusal = None
    assert signing_in.authorize().status_code == 200


def test_attempt_waits_while_an_old_loop_is_ended(signing_in):
    """409 with a time to come again; then it is the same attempt, so that trying costs none."""
    signing_in.sandbox.refusal = (409, {"code": "signin_ending", "retry_after": 4})
    answer = signing_in.authorize()
    waiting = signing_in.row().attempt_id

    assert (409, "signin_ending", "4") == (answer.status_code, answer.json()["code"], answer.headers["retry-after"])
    signing_in.sandbox.refusal = None
    assert waiting == signing_in.authorize().json()["attempt_id"]


def test_sandbox_that_falls_silent_is_suspected(signing_in):
    """sandbox_ctl is asked whether it is gone; the call goes on with whatever there is."""
    signing_in.sandbox.breaks = 1
    assert signing_in.authorize().status_code == 200
    assert [1] == signing_in.control.suspects


def test_attempt_of_a_sandbox_that_is_gone_is_replaced(signing_in):
    """A new generation knows nothing of it."""
    first = signing_in.authorize().json()["attempt_id"]
    signing_in.control.generation = 2
    second = signing_in.authorize().json()["attempt_id"]
    assert first != second
    assert (second, 2) == (signing_in.row().attempt_id, signing_in.row().generation)


def test_another_method_supersedes(signing_in):
    """The sockets hear of both, and the browser's way has less time."""
    signing_in.opens_socket()
    signing_in.authorize(1)
    signing_in.authorize(0)
    assert ["pending", "superseded", "pending"] == signing_in.told()
    assert 290 == signing_in.row().expires_at - signing_in.row().created_at


def test_attempt_cancelled_while_it_was_begun_is_called_off(signing_in):
    """Who asked hears that; the sandbox, which began it after the cancel, is told again."""
    signing_in.sandbox.meanwhile = lambda: signing_in.signins.end(THREAD, signing_in.row().attempt_id, "cancelled")
    answer = signing_in.authorize()
    assert (409, "signin_cancelled") == (answer.status_code, answer.json()["code"])
    assert 1 == signing_in.sandbox.count("DELETE", "")


def test_sixth_attempt_of_an_hour_is_limited(signing_in):
    """429, with when to come again."""
    for _ in range(5):
        signing_in.authorize().raise_for_status()
        assert signing_in.call("DELETE", "/oauth/attempt").json()["status"] == "cancelled"
    answer = signing_in.authorize()
    assert (429, "rate_limited") == (answer.status_code, answer.json()["code"])
    assert 0 < int(answer.headers["retry-after"]) <= 3600


@pytest.mark.parametrize("path", ["/oauth/authorize", "/oauth/callback"])
def test_bodies_are_checked(signing_in, path):
    """A method that there is not, or no JSON at all, is refused before anything begins."""
    for body in (b'{"method":7}', b'{"method":2}', b'{"method":null}', b"{}", b"x{", b"[1]", b"\xff"):
        answer = signing_in.call("POST", path, content=body, headers={"Content-Type": "application/json"})
        assert (422, "invalid_request") == (answer.status_code, answer.json()["code"]), body
    assert [] == signing_in.sandbox.calls


def test_only_the_owner_begins(signing_in):
    """Nobody else's token does anything here, in any route."""
    signing_in.authorize().raise_for_status()
    calls = [("POST", "/oauth/authorize"), ("GET", "/oauth/attempt"), ("DELETE", "/oauth/attempt"), ("DELETE", "")]
    for method, path in calls:
        body = {"json": {"method": 1}} if method == "POST" else {}
        assert signing_in.call(method, path, token=signing_in.token("bob"), **body).status_code == 403
        assert signing_in.call(method, path, token="nonsense", **body).status_code == 401
    assert "pending" == signing_in.row().status


def test_attempt_is_shown_while_it_lives(signing_in):
    """With what the user needs, so that a page that was reloaded can go on; afterwards without."""
    assert signing_in.call("GET", "/oauth/attempt").json()["code"] == "no_signin"
    begun = signing_in.authorize().json()
    shown = signing_in.call("GET", "/oauth/attempt").json()
    assert begun.items() - {("method", "auto")} <= shown.items()
    assert ("pending", 1) == (shown["status"], shown["method"])

    ended = signing_in.call("DELETE", "/oauth/attempt").json()
    assert ("cancelled", None, None) == (ended["status"], ended["url"], ended["user_code"])
    assert ended == signing_in.call("DELETE", "/oauth/attempt").json(), "again it stays as it is"


def test_looking_at_an_attempt_is_watching_it(signing_in):
    """A page that polls keeps it alive."""
    signing_in.authorize()
    signing_in.clock.time += 300
    signing_in.call("GET", "/oauth/attempt")
    assert int(signing_in.clock()) == signing_in.row().watched_at


def test_disconnect_calls_an_attempt_off_and_takes_the_grant_back(signing_in):
    """And says so to every socket."""
    signing_in.opens_socket()
    signing_in.authorize()
    answer = signing_in.call("DELETE", "")
    assert {"ok": True, "removed": True} == answer.json()
    assert ([THREAD], "cancelled") == (signing_in.control.disconnected, signing_in.row().status)
    assert ["pending", "cancelled", "disconnected"] == signing_in.told()
