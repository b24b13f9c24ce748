"""Signing in with the real OpenCode on the deployed stack: how the stories end."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from time import time

import httpx
import pytest

from local.stack.aws_clients import client
from oauth_proxy.steps import SLICE
from tests.e2e.signin_stories import BAD_BODIES, CHAINS, lived
from tests.e2e.signing_in import SigningIn
from tests.stacks import SCALED

STORY_SECONDS = 400


@pytest.fixture(scope="module")
def threads(stack, token) -> Iterator[list[SigningIn]]:
    """A thread for each chain of stories."""
    with ExitStack() as closing_all:
        yield [closing_all.enter_context(closing(SigningIn(stack, token))) for _ in CHAINS]


@pytest.fixture(scope="module")
def stories(threads):
    with lived(threads) as stories:
        yield stories


@pytest.fixture(scope="module")
def story(stories):
    """Tell the story of that name, once it has ended."""
    return lambda name: stories[name].result(STORY_SECONDS)


@pytest.fixture(scope="module")
def connected(story):
    return story("connects")


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_two_tabs_and_a_double_click_have_one_attempt(connected):
    """All get the same code; what a tab that was reloaded finds is the same."""
    assert 1 == len({begun["attempt_id"] for begun in connected["begun"]})
    assert 1 == len({begun["user_code"] for begun in connected["begun"]})
    look, _ = connected["looks"]
    assert ("pending", connected["begun"][0]["user_code"]) == (look["status"], look["user_code"])


def test_sandbox_that_starts_is_not_waited_for_by_who_would_rather_not(connected):
    """202, and how far it is."""
    answer = connected["starting"]
    assert (202, "starting") == (answer.status_code, answer.json()["status"])


def test_httpx_and_curl_wait_through_several_hops(connected):
    """With the options that the docs give; both are told the account."""
    answer, (status, redirects, body) = connected["httpx"], connected["curl"]
    account = connected["codex"]["account_id"]
    assert (200, {"ok": True, "provider": "openai", "account_id": account}) == (answer.status_code, answer.json())
    assert (200, True) == (status, account in body)
    assert min(len(answer.history), redirects) >= 2


def test_three_wait_and_others_are_told_to_come_again(connected):
    """Or that it goes on, where they would rather hear that; OpenCode has one poll loop."""
    waited, *refused = sorted(connected["more"], key=lambda answer: answer.status_code)
    assert 200 == waited.status_code
    assert [(429, "rate_limited")] * 2 == [told(answer) for answer in refused]
    assert {"5"} == {answer.headers["retry-after"] for answer in refused}
    assert 202 == connected["impatient"].status_code
    assert all(later["time"] - poll["time"] > 3 for poll, later in pairwise(connected["polls"]))


def test_bad_bodies_are_refused(connected):
    """422, before there is a sign-in and while there is one; that one goes on as it was."""
    assert 2 * 2 * len(BAD_BODIES) == len(connected["refused"])
    assert {(422, "invalid_request")} == {told(answer) for answer in connected["refused"]}
    before, after = connected["looks"]
    assert before == after


def test_without_a_sign_in_there_is_none(connected):
    """Nothing to wait for, nothing to look at."""
    assert [(404, "no_signin")] * 2 == [told(answer) for answer in connected["nothing"]]


def test_every_socket_is_told(connected):
    """How far the sandbox is, where the sign-in stands, and its end with the account, once."""
    for notices in connected["told"]:
        details = [notice["data"]["detail"] for notice in notices if notice["type"] == "data-sandbox"]
        states = [notice["data"] for notice in notices if notice["type"] == "data-codex"]
        assert "ready" == details[-1]
        assert {"claiming", "booting"} & set(details)
        assert {"pending"} == {state["status"] for state in states[:-1]}
        assert ("connected", connected["codex"]["account_id"]) == (states[-1]["status"], states[-1]["account_id"])


def test_next_prompt_uses_the_new_provider(connected):
    """At once; the list of models and its default change. After disconnecting it is as before."""
    assert ("connected", "disconnected") == connected["texts"]
    model, model_after = connected["models_of_answers"]
    assert model.startswith("openai/")
    assert ["openai"] == [model["provider"] for model in connected["models"] if model["default"]]
    assert connected["codex"]["connected"]
    assert {"ok": True, "removed": True} == connected["removed"]
    assert "default/demo" == model_after
    assert not connected["codex_after"]["connected"]
    assert not connected["codex_after"]["reconnect_required"]


@pytest.mark.long
def test_denied(story):
    """403, and another attempt may begin."""
    assert (403, "signin_denied") == told(story("is_denied_and_then_waits_with_an_old_token")["told"])


def test_token_that_expires_on_the_way_is_good_for_its_attempt(story):
    """For the call that waits with it, and for nothing else; another user's is good for nothing at hop 3."""
    ended = story("is_denied_and_then_waits_with_an_old_token")
    assert (401, 403) == (ended["expired"].status_code, ended["bob"].status_code)
    assert 200 == ended["answer"].status_code, ended["answer"].text
    assert len(ended["answer"].history) >= 3


def test_another_account_needs_to_be_meant(story):
    """Connected, then a mismatch, then replaced."""
    ended = story("changes_accounts")
    assert [200, 409, 200] == [answer.status_code for answer in ended["answers"]]
    assert "account_mismatch" == ended["answers"][1].json()["code"]
    assert (True, "acct-other") == (ended["codex"]["connected"], ended["codex"]["account_id"])


def test_cancelled_is_called_off(story):
    """The poll loop ends, a late approval is good for nothing, the conversation goes on, and another may begin."""
    ended = story("is_cancelled")
    assert "cancelled" == ended["cancelled"]["status"]
    assert (409, "signin_ending") == told(ended["ending"])
    assert int(ended["ending"].headers["retry-after"]) > 0
    assert (409, "signin_cancelled") == told(ended["answer"])
    assert "still here" == ended["text"]
    assert ended["second"]["user_code"] != ended["begun"]["user_code"]
    assert not ended["codex"]["connected"]
    assert not ended["codex"]["reconnect_required"]


def test_deadline_ends_it(story):
    """504, and nobody asks about the code any more; an approval after that connects nothing."""
    ended = story("is_not_completed_in_time")
    assert (504, "signin_timed_out") == told(ended["answer"])
    assert ended["later"]["attempt_id"] != ended["begun"]["attempt_id"]
    assert not ended["codex"]["connected"]


def test_nobody_watches(story):
    """It is called off long before its deadline."""
    assert (410, "signin_abandoned") == told(story("is_abandoned")["answer"])


def test_sandbox_that_is_killed_ends_it_soon(story):
    """502 within 20 s; its code, approved after that, is asked about by nobody and connects no later sandbox."""
    ended = story("loses_its_sandbox")
    assert (502, "opencode_error") == told(ended["answer"])
    assert ended["seconds"] <= 20
    assert ended["second"]["attempt_id"] != ended["begun"]["attempt_id"]
    assert {"authorization_pending"} == {poll["outcome"] for poll in ended["polls"]}
    assert not ended["codex"]["connected"]


def test_wait_of_fifteen_minutes_costs_less_than_half_a_cent(stack, story):
    """Counted from the scaled one, whose slices are shorter; without those who watch (docs/cost.md)."""
    begun = story("is_not_completed_in_time")["begun"]
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


@pytest.fixture
def ended(story, threads) -> SigningIn:
    """A thread whose stories have been told, and its sandbox."""
    story("is_not_completed_in_time")
    signing_in: SigningIn = threads[0]
    return signing_in


def test_sixth_sign_in_of_an_hour_is_limited(ended):
    """429, with when to come again."""
    begun = {":five": [int(time()) - 60] * 5}
    ended.table.update_item(Key=ended.key, UpdateExpression="SET begun = :five", ExpressionAttributeValues=begun)
    limited = ended.authorize()
    assert (429, "rate_limited") == told(limited)
    assert 3500 < int(limited.headers["retry-after"]) <= 3540


def test_method_that_needs_a_network_of_its_own_is_refused(ended):
    """With the reason: here all sandboxes share one."""
    ended.an_hour_passes()
    answer = ended.authorize(0)
    assert (409, "method_unavailable") == told(answer)
    assert "network" in answer.json()["message"]


def test_redirect_sends_the_browser_to_the_page(stack):
    """With what the provider said, and without a token."""
    url = f"{stack.http_url}/api/sandbox/opencode-oauth/redirect"
    answer = httpx.get(url, params={"code": "c1", "state": "s1"}, timeout=30)
    assert (302, f"{stack.web_url}/?code=c1&state=s1") == (answer.status_code, answer.headers["location"])


def test_pages_of_other_origins_may_not_call(stack):
    """The list decides: whoever asks is not told his own origin back."""
    url = f"{stack.http_url}/api/sandbox/t/opencode/provider/openai/oauth/callback"
    for origin, allowed in ((stack.web_url, stack.web_url), ("https://evil.example", None), ("null", None)):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = httpx.options(url, headers=headers, timeout=30)
        assert allowed == answer.headers.get("access-control-allow-origin")
