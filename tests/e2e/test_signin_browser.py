"""
Signing in by the browser's way (method 0), with the real OpenCode on the deployed stack.

Two users have a thread each, whose sandboxes have networks of their own: there OpenCode can listen for the browser's
way back, which a test brings as the page does, with its user's token.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.e2e.own_sandbox import own_sandbox
from tests.e2e.signing_in import PATIENCE, SigningIn
from tests.networks import networks_work
from tests.waiting import eventually

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not networks_work(), reason="network namespaces do not work here"),
]


@pytest.fixture(scope="module")
def sandboxed(stack, stack_state, token, tmp_path_factory):
    """Give a user a thread whose sandbox has a network of its own."""

    @contextmanager
    def of(user: str) -> Iterator[SigningIn]:
        with closing(SigningIn(stack, token, user=user)) as signing_in:
            directory = tmp_path_factory.mktemp(user)
            with own_sandbox(stack, stack_state, thread_id=signing_in.thread.name, directory=directory):
                yield signing_in

    return of


@pytest.fixture(scope="module")
def ann(sandboxed):
    with sandboxed("ann") as signing_in:
        yield signing_in


@pytest.fixture(scope="module")
def bob(sandboxed):
    with sandboxed("bob") as signing_in:
        yield signing_in


def refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_what_the_provider_sent_back_connects_once(ann):
    """Pasted, or brought by the redirect route; the same again is refused, while the attempt lives and after it."""
    sent = ann.sent_back(ann.begin(method=0))
    redirect = httpx.get(f"{ann.stack.http_url}/api/sandbox/opencode-oauth/redirect", params=sent, timeout=30)
    brought = dict(parse_qsl(urlsplit(redirect.headers["location"]).query))

    with ann.fault("oauth_token", "slow", seconds=2, times=1):
        first = ann.complete(brought, Prefer="respond-async")
        replayed = ann.complete(sent)
        pending = ann.attempt()
        answer = ann.callback(method=0)

    assert (302, sent) == (redirect.status_code, brought)
    assert (202, "pending") == (first.status_code, first.json()["status"])
    assert refused(replayed)
    assert "pending" == pending["status"]
    assert (200, True) == (answer.status_code, answer.json()["ok"])
    assert refused(ann.complete(sent))
    assert (True, answer.json()["account_id"]) == (ann.codex()["connected"], ann.codex()["account_id"])


def test_answer_belongs_to_its_thread_and_user(ann, bob):
    """That of another thread changes nothing in either; another's token brings nothing; each own one still connects."""
    with (
        # Open pages: whom nobody watches is soon given up here.
        ann.thread.tab(),
        bob.thread.tab(),
        bob.client(bob.new_token(ann.thread.name, "bob")) as intruder,
        bob.client(bob.thread.token) as stranger,
    ):
        sent_to_ann, sent_to_bob = (each.sent_back(each.begin(method=0)) for each in (ann, bob))
        crossed = ann.complete(sent_to_bob)
        answers = [ann.complete(sent_to_ann, client) for client in (intruder, stranger)]
        states = [each.attempt()["status"] for each in (ann, bob)]
        completed = [ann.complete(sent_to_ann), bob.complete(sent_to_bob)]

    assert refused(crossed)
    assert all(refused(answer) for answer in answers)
    assert ["pending", "pending"] == states
    assert [200, 200] == [answer.status_code for answer in completed]


def test_answer_after_the_deadline_connects_nothing(bob):
    """It was approved in time, and brought too late."""
    bob.http.delete(bob.path).raise_for_status()
    sent = bob.sent_back(bob.begin(method=0))
    ended = bob.callback(method=0)

    assert (504, "signin_timed_out") == (ended.status_code, ended.json()["code"])
    assert refused(bob.complete(sent))
    assert not bob.codex()["connected"]


def test_code_that_the_provider_does_not_know_ends_it(bob):
    """The state was spent on it: there is nothing to try again, and nothing is connected."""
    bob.http.delete(bob.path).raise_for_status()
    sent = bob.sent_back(bob.begin(method=0))
    answer = bob.complete({**sent, "code": "ac_made_up"})

    assert (502, "opencode_error") == (answer.status_code, answer.json()["code"])
    assert refused(bob.complete(sent))
    assert not bob.codex()["connected"]


def test_another_way_takes_the_place(ann):
    """Who waited for the code is told so; the code is good for nothing then, and the new way connects."""
    code = ann.begin()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ann.callback)
        eventually(lambda: ann.polls(code), seconds=PATIENCE)
        ending = ann.authorize(0)
        superseded = waiting.result()
    sent = ann.sent_back(ann.begin(method=0))
    ann.decide(code)
    answer = ann.complete(sent)

    assert (409, "signin_ending") == (ending.status_code, ending.json()["code"])
    assert (409, "signin_superseded") == (superseded.status_code, superseded.json()["code"])
    assert 200 == answer.status_code, answer.text
    assert "ok" not in [poll["outcome"] for poll in ann.polls(code)]
