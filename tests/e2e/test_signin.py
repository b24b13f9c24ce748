"""
Signing in with the real OpenCode on the deployed stack, whose times are scaled (``tests/stacks.py``).

Each story waits most of the time, so they are lived side by side, in threads (and sandboxes) of their own; the tests
look at how they ended. What the provider fails in comes last: that would touch them all.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus
from itertools import pairwise
from time import monotonic

import boto3
import httpx
import pytest
from botocore.config import Config

from local.stack.aws_clients import client
from oauth_proxy.attempts import AttemptService
from oauth_proxy.callbacks import CallbackService
from oauth_proxy.signins import SigninStore
from oauth_proxy.steps import SLICE
from tests.e2e.signing_in import PATIENCE, SigningIn, codes
from tests.e2e.victims import kill, sandboxd_of
from tests.stacks import SCALED
from tests.waiting import eventually
from threadbox.errors import RateLimitedError
from threadbox.grants import GrantStore

POOL = Config(max_pool_connections=64)
STORY_SECONDS = 400
AT_A_TIME = 2
LATENCIES: list[float] = []


@pytest.fixture(scope="module")
def table(stack):
    return boto3.resource("dynamodb", endpoint_url=stack.aws_url, config=POOL).Table(stack.outputs["TableName"])


@pytest.fixture(scope="module")
def threads(stack, token) -> Iterator[list[SigningIn]]:
    """A thread for each chain of stories."""
    with ExitStack() as closing_all:
        yield [closing_all.enter_context(closing(SigningIn(stack, token))) for _ in CHAINS]


@pytest.fixture(scope="module")
def stories(threads, table) -> Iterator[dict[str, Future]]:
    """How the stories end, by their names."""
    futures: dict[str, Future] = {story.__name__: Future() for chain in CHAINS for story in chain}

    def live(chain: tuple[Callable, ...], signing_in: SigningIn) -> None:
        for story in chain:
            with told_to(futures[story.__name__]):
                futures[story.__name__].set_result(story(signing_in, table))

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        pool.map(live, CHAINS, threads)
        yield futures


@contextmanager
def told_to(future: Future) -> Iterator[None]:
    """What breaks in a story is raised in the tests that look at it."""
    try:
        yield
    except BaseException as error:  # noqa: BLE001 - it is raised there
        future.set_exception(error)


def one_of_many(signing_in, table):
    """Wait as a function does, in a thread: fifty functions at once would be fifty processes here."""
    grants = GrantStore(table=table)
    attempts = AttemptService(
        signins=SigninStore(table=table, grants=grants, per_hour=5), control=None, sandbox=None, notices=None
    )
    signin = attempts.get(signing_in.thread.name)
    try:
        return CallbackService(attempts=attempts).wait(
            signin, attempt_id=signin.attempt_id, watcher=None, seconds=1, hops=False
        )
    except RateLimitedError as error:
        return error


def connects(signing_in, table):
    with ThreadPoolExecutor(60) as pool, signing_in.thread.tab() as tab:
        tabs = [pool.submit(signing_in.begin) for _ in range(2)]
        begun = [tab_.result() for tab_ in tabs] + [signing_in.authorize().json()]
        with_httpx, with_curl = pool.submit(signing_in.callback), pool.submit(signing_in.curl)
        first_look = signing_in.attempt()
        eventually(lambda: "watcher_1" in table.get_item(Key=signing_in.key, ConsistentRead=True)["Item"])
        crowd = [pool.submit(one_of_many, signing_in, table) for _ in range(50)]
        impatient = signing_in.callback(Prefer="respond-async")
        eventually(lambda: len(signing_in.polls(begun[0])) >= 2, seconds=PATIENCE)
        signing_in.decide(begun[0])
        answer = with_httpx.result()
        LATENCIES.append(signing_in.answered(begun[0]))
        told = [next(codes(tab.frames())) for _ in range(2)]
        while told[-1]["status"] == "pending":
            told.append(next(codes(tab.frames())))
        codex = signing_in.codex()
        text = tab.answer(tab.ask("say connected")).text
    models = signing_in.thread.http.get(f"/api/sandbox/{signing_in.thread.name}/models").json()
    message = signing_in.thread.messages()[-1]
    removed = signing_in.http.delete(signing_in.path).json()
    with signing_in.thread.tab() as tab:
        again = tab.answer(tab.ask("say disconnected")).text
    return {
        "begun": begun, "answer": answer, "curl": with_curl.result(), "crowd": [c.result() for c in crowd],
        "impatient": impatient, "look": first_look, "polls": signing_in.polls(begun[0]), "told": told, "codex": codex,
        "models": models, "texts": (text, again), "model": message["metadata"]["model"], "removed": removed,
        "model_after": signing_in.thread.messages()[-1]["metadata"]["model"], "codex_after": signing_in.codex(),
    }  # fmt: skip


def refused(answer):
    """Return the answer to a token that is not good, or None."""
    return answer if answer.status_code == HTTPStatus.UNAUTHORIZED else None


def is_denied_and_then_waits_with_an_old_token(signing_in, _table):
    denied = signing_in.begin()
    signing_in.decide(denied, "deny")
    told = signing_in.callback()
    begun = signing_in.begin()
    name = signing_in.thread.name
    with (
        signing_in.client(signing_in.new_token(name, "ann", ttl=5)) as short,
        signing_in.client(signing_in.new_token(name, "bob")) as bob,
        ThreadPoolExecutor(1) as pool,
    ):
        hops = []
        short.event_hooks = {"response": [lambda told: hops.append(told) if told.is_redirect else None]}
        waiting = pool.submit(signing_in.callback, short)
        expired = eventually(lambda: refused(signing_in.callback(short, Prefer="respond-async")))
        of_bob = signing_in.callback(bob, f"?attempt={begun['attempt_id']}&hop=3")
        gone = len(hops)
        eventually(lambda: len(hops) > max(gone, 2))
        signing_in.decide(begun)
        answer = waiting.result()
    LATENCIES.append(signing_in.answered(begun))
    return {"told": told, "expired": expired, "bob": of_bob, "answer": answer}


def changes_accounts(signing_in, _table):
    answers = []
    for more in ({}, {"account_id": "acct-other"}, {"account_id": "acct-other", "replace": True}):
        begun = signing_in.begin(replace=more.pop("replace", False))
        signing_in.decide(begun, **more)
        answers.append(signing_in.callback())
        LATENCIES.append(signing_in.answered(begun))
    return {"answers": answers, "codex": signing_in.codex()}


def is_cancelled(signing_in, _table):
    with signing_in.fault("usercode", "slow", seconds=1.5, times=1):
        begun = signing_in.begin()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(signing_in.callback)
        eventually(lambda: signing_in.polls(begun), seconds=PATIENCE)
        cancelled = signing_in.cancel()
        ending = signing_in.authorize()
        signing_in.decide(begun)
        answer = waiting.result()
    with signing_in.thread.tab() as tab:
        text = tab.answer(tab.ask("say still here")).text
    second = signing_in.begin()
    codex = signing_in.codex()
    signing_in.cancel()
    return {
        "cancelled": cancelled, "ending": ending, "answer": answer, "text": text, "second": second, "begun": begun,
        "codex": codex,
    }  # fmt: skip


def is_not_completed_in_time(signing_in, _table):
    begun = signing_in.begin()
    answer = signing_in.callback()
    signing_in.decide(begun)
    second = signing_in.begin()
    signing_in.cancel()
    return {"begun": begun, "answer": answer, "late": second, "codex": signing_in.codex()}


def is_abandoned(signing_in, table):
    began = monotonic()
    signing_in.begin()
    eventually(lambda: table.get_item(Key=signing_in.key, ConsistentRead=True)["Item"]["status"] == "abandoned")
    return {"seconds": monotonic() - began, "answer": signing_in.callback()}


def loses_its_sandbox(signing_in, _table):
    begun = signing_in.begin()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(signing_in.callback)
        eventually(lambda: signing_in.polls(begun), seconds=PATIENCE)
        kill([sandboxd_of(signing_in.stack, signing_in.thread.name)])
        killed = monotonic()
        answer = waiting.result()
        seconds = monotonic() - killed
    signing_in.decide(begun)
    second = signing_in.begin()
    signing_in.cancel()
    return {"answer": answer, "seconds": seconds, "second": second, "begun": begun, "codex": signing_in.codex()}


# One after another in one sandbox, whose thread has five sign-ins an hour.
CHAINS = (
    (is_not_completed_in_time,),
    (is_cancelled, is_abandoned, loses_its_sandbox),
    (is_denied_and_then_waits_with_an_old_token, changes_accounts),
    (connects,),
)


@pytest.fixture(scope="module")
def connected(stories):
    return stories["connects"].result(STORY_SECONDS)


def test_two_tabs_and_a_double_click_have_one_attempt(connected):
    """All get the same code; what a tab that was reloaded finds is the same."""
    assert 1 == len({begun["attempt_id"] for begun in connected["begun"]})
    assert 1 == len({begun["user_code"] for begun in connected["begun"]})
    assert ("pending", connected["begun"][0]["user_code"]) == (
        connected["look"]["status"],
        connected["look"]["user_code"],
    )


def test_httpx_and_curl_wait_through_several_hops(connected):
    """With the options that the docs give; both are told the account."""
    answer, (status, redirects, body) = connected["answer"], connected["curl"]
    account = connected["codex"]["account_id"]
    assert (200, {"ok": True, "provider": "openai", "account_id": account}) == (answer.status_code, answer.json())
    assert (200, True) == (status, account in body)
    assert min(len(answer.history), redirects) >= 2


def test_fifty_callbacks_make_one_upstream_call(connected):
    """OpenCode has one poll loop; of those who wait three are held, the others are told to come again."""
    refused = [answer for answer in connected["crowd"] if isinstance(answer, RateLimitedError)]
    assert 50 == len(connected["crowd"])
    assert 40 <= len(refused) < 50
    assert 202 == connected["impatient"].status_code
    assert min(later["time"] - poll["time"] for poll, later in pairwise(connected["polls"])) > 3


def test_socket_is_told(connected):
    """Where the sign-in stands, and its end with the account."""
    assert "pending" == connected["told"][0]["status"]
    assert ("connected", connected["codex"]["account_id"]) == (
        connected["told"][-1]["status"],
        connected["told"][-1]["account_id"],
    )


def test_next_prompt_uses_the_new_provider(connected):
    """At once; the list of models and its default change. After disconnecting it is as before."""
    assert ("connected", "disconnected") == connected["texts"]
    assert connected["model"].startswith("openai/")
    assert ["openai"] == [model["provider"] for model in connected["models"] if model["default"]]
    assert connected["codex"]["connected"]
    assert {"ok": True, "removed": True} == connected["removed"]
    assert "default/demo" == connected["model_after"]
    assert not connected["codex_after"]["connected"]
    assert not connected["codex_after"]["reconnect_required"]


def test_denied(stories):
    """403, and another attempt may begin."""
    story = stories["is_denied_and_then_waits_with_an_old_token"].result(STORY_SECONDS)
    assert (403, "signin_denied") == (story["told"].status_code, story["told"].json()["code"])


def test_token_that_expires_on_the_way_is_good_for_its_attempt(stories):
    """For the call that waits with it, and for nothing else; another user's is good for nothing at hop 3."""
    story = stories["is_denied_and_then_waits_with_an_old_token"].result(STORY_SECONDS)
    assert (401, 403) == (story["expired"].status_code, story["bob"].status_code)
    assert 200 == story["answer"].status_code, story["answer"].text
    assert len(story["answer"].history) >= 3


def test_another_account_needs_to_be_meant(stories):
    """Connected, then a mismatch, then replaced."""
    story = stories["changes_accounts"].result(STORY_SECONDS)
    assert [200, 409, 200] == [answer.status_code for answer in story["answers"]]
    assert "account_mismatch" == story["answers"][1].json()["code"]
    assert (True, "acct-other") == (story["codex"]["connected"], story["codex"]["account_id"])


def test_cancelled_is_called_off(stories):
    """The poll loop ends, a late approval is good for nothing, the conversation goes on, and another may begin."""
    story = stories["is_cancelled"].result(STORY_SECONDS)
    assert "cancelled" == story["cancelled"]["status"]
    assert (409, "signin_ending") == (story["ending"].status_code, story["ending"].json()["code"])
    assert int(story["ending"].headers["retry-after"]) > 0
    assert (409, "signin_cancelled") == (story["answer"].status_code, story["answer"].json()["code"])
    assert "still here" == story["text"]
    assert story["second"]["user_code"] != story["begun"]["user_code"]
    assert not story["codex"]["connected"]
    assert not story["codex"]["reconnect_required"]


def test_deadline_ends_it(stories):
    """504, and nobody asks about the code any more; an approval after that connects nothing."""
    story = stories["is_not_completed_in_time"].result(STORY_SECONDS)
    assert (504, "signin_timed_out") == (story["answer"].status_code, story["answer"].json()["code"])
    assert not story["codex"]["connected"]


def test_nobody_watches(stories):
    """It is called off long before its deadline."""
    story = stories["is_abandoned"].result(STORY_SECONDS)
    assert (410, "signin_abandoned") == (story["answer"].status_code, story["answer"].json()["code"])


def test_sandbox_that_is_killed_ends_it_soon(stories):
    """502 within 20 s; its code, approved after that, connects no later sandbox."""
    story = stories["loses_its_sandbox"].result(STORY_SECONDS)
    assert (502, "opencode_error") == (story["answer"].status_code, story["answer"].json()["code"])
    assert story["seconds"] <= 20
    assert story["second"]["attempt_id"] != story["begun"]["attempt_id"]
    assert not story["codex"]["connected"]


def test_approval_is_told_within_a_second(stories):
    """From the poll that told OpenCode to the answer; on a machine that is busy with other things the median counts."""
    wait(stories.values(), timeout=STORY_SECONDS)
    told = ", ".join(f"{seconds:.2f}" for seconds in sorted(LATENCIES))
    print(f"\nseconds from the approval's poll to the answer: {told}")  # noqa: T201 - it is measured here
    assert len(LATENCIES) >= 4
    assert sorted(LATENCIES)[len(LATENCIES) // 2] <= 1


def test_wait_of_fifteen_minutes_costs_less_than_half_a_cent(stack, stories):
    """Counted from the scaled one, whose slices are shorter; without those who watch (docs/cost.md)."""
    begun = stories["is_not_completed_in_time"].result(STORY_SECONDS)["begun"]
    machine = client("stepfunctions", stack.aws_url)
    arn = stack.outputs["SigninMachineArn"].replace(":stateMachine:", ":execution:")
    events = machine.get_execution_history(executionArn=f"{arn}:{begun['attempt_id']}", maxResults=1000)["events"]
    entered = [event for event in events if event["type"].endswith("StateEntered")]
    slices = [event["stateEnteredEventDetails"]["name"] for event in entered].count("Wait")
    seconds = sum(
        (left["timestamp"] - came["timestamp"]).total_seconds()
        for came, left in zip(
            (event for event in events if event["type"] == "TaskStateEntered"),
            (event for event in events if event["type"] == "TaskStateExited"),
            strict=True,
        )
    )
    # What the steps take beside the wait is part of it: each waits for what is left.
    whole = math.ceil(900 / SLICE) + 1
    transitions = len(entered) - 2 * slices + 2 * whole
    function_seconds = 900 * max(1.0, seconds / int(SCALED["CODEX_CALLBACK_TIMEOUT_SECONDS"]))
    dollars = transitions * 25e-6 + function_seconds * 0.25 * 13.3334e-6
    print(  # noqa: T201 - it is measured here
        f"\n{slices} slices: {len(entered)} transitions, {seconds:.1f} s of functions; in 15 minutes {transitions} "
        f"transitions, {function_seconds:.0f} s: ${dollars:.4f}"
    )
    assert len(entered) == 2 * slices + 2
    assert dollars <= 0.005


@pytest.fixture(scope="module")
def alone(stories, threads) -> list[SigningIn]:
    """The threads, once nobody signs in there any more: what the provider fails in would touch them all."""
    wait(stories.values(), timeout=STORY_SECONDS)
    return threads


@pytest.mark.parametrize("mode", ["down", "500", "429", "garbage"])
def test_provider_that_gives_no_code_is_unreachable(alone, mode):
    """502, whatever it fails in; the attempt has ended."""
    signing_in = alone[3]
    with signing_in.fault("usercode", mode):
        answer = signing_in.authorize()
    assert (502, "provider_unreachable") == (answer.status_code, answer.json()["code"])
    assert "failed" == signing_in.attempt()["status"]


def test_sixth_sign_in_of_an_hour_is_limited(alone):
    """429, with when to come again."""
    limited = alone[3].authorize()
    assert (429, "rate_limited") == (limited.status_code, limited.json()["code"])
    assert 60 < int(limited.headers["retry-after"]) <= 3600


@pytest.mark.parametrize(
    ("endpoint", "mode", "status", "code"),
    [("token", "429", 403, "signin_denied"), ("oauth_token", "500", 502, "opencode_error")],
)
def test_provider_that_fails_afterwards_ends_it(alone, endpoint, mode, status, code):
    """As what OpenCode makes of it."""
    another = alone[0]
    begun = another.begin()
    with another.fault(endpoint, mode):
        another.decide(begun)
        answer = another.callback()
    assert (status, code) == (answer.status_code, answer.json()["code"])


def test_method_that_needs_a_network_of_its_own_is_refused(alone):
    """With the reason: here all sandboxes share one."""
    answer = alone[0].authorize(0)
    assert (409, "method_unavailable") == (answer.status_code, answer.json()["code"])
    assert "network" in answer.json()["message"]


@pytest.mark.parametrize("body", ['{"method":7}', "x{", '{"method":"1"', "[]"])
@pytest.mark.parametrize("route", ["authorize", "callback"])
def test_bad_body_is_refused(threads, route, body):
    """422, before anything begins."""
    answer = threads[0].http.post(
        f"{threads[0].path}/oauth/{route}", content=body, headers={"Content-Type": "application/json"}
    )
    assert (422, "invalid_request") == (answer.status_code, answer.json()["code"])


def test_redirect_sends_the_browser_to_the_page(stack):
    """With what the provider said, and without a token."""
    url = f"{stack.http_url}/api/sandbox/opencode-oauth/redirect"
    answer = httpx.get(url, params={"code": "c1", "state": "s1"}, timeout=30)
    assert (302, f"{stack.web_url}/?code=c1&state=s1") == (answer.status_code, answer.headers["location"])
