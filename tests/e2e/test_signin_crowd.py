"""
Fifty callbacks at once, as HTTP requests to a deployed stack whose sign-ins last as long as they do elsewhere.

The embedded AWS gives each call under way a process of its own, as AWS gives it an environment: fifty of them are 3 GB,
and take two processors a minute or more to start.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise

import httpx
import pytest

from tests.e2e.signing_in import COLD_SECONDS, PATIENCE, SigningIn
from tests.stacks import own_stack, stack_file, tokens_of
from tests.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.own_stack, pytest.mark.timeout(900)]

CROWD = 50
PLACES = 3
# Between hops there is room for a machine that is busy with the cold starts: a call that takes 29 s is ended.
SETTINGS = {"CODEX_HOP_SECONDS": "12"}
ACCOUNT = "acct-crowd"


@pytest.fixture
def signing_in(tmp_path) -> Iterator[SigningIn]:
    with own_stack(tmp_path, SETTINGS) as state:
        file = stack_file(state)
        with closing(SigningIn(file, tokens_of(file))) as signing_in:
            yield signing_in


def test_of_fifty_callbacks_three_wait(signing_in):
    """The others are told to come again, at once or with a 202; OpenCode asks the provider once for them all."""
    # Not while OpenCode asks the provider: it would be taken for gone.
    signing_in.start_functions(CROWD)
    begun = signing_in.begin()
    with (
        ThreadPoolExecutor(CROWD) as pool,
        signing_in.client(signing_in.thread.token, timeout=httpx.Timeout(COLD_SECONDS)) as patient,
    ):
        calls = [pool.submit(signing_in.callback, patient) for _ in range(CROWD)]
        eventually(lambda: sum(call.done() for call in calls) >= CROWD - PLACES, seconds=COLD_SECONDS)
        waiting = [call for call in calls if not call.done()]
        refused = [call.result() for call in calls if call.done()]
        with ThreadPoolExecutor(CROWD - PLACES) as others:
            asked = list(others.map(lambda _: signing_in.callback(Prefer="respond-async"), range(CROWD - PLACES)))
        signing_in.decide(begun, account_id=ACCOUNT)
        answers = [call.result(PATIENCE) for call in waiting]
        polls = signing_in.polls(begun)
        exchanges = [entry for entry in signing_in.journal("oauth_token") if entry["account_id"] == ACCOUNT]

    told = Counter((answer.status_code, answer.json()["code"], answer.headers["retry-after"]) for answer in refused)
    assert {(429, "rate_limited", "5"): CROWD - PLACES} == told
    assert {(202, "pending")} == {(answer.status_code, answer.json()["status"]) for answer in asked}
    connected = {"ok": True, "provider": "openai", "account_id": ACCOUNT}
    assert [(200, connected)] * PLACES == [(answer.status_code, answer.json()) for answer in answers]
    assert ["ok"] == [poll["outcome"] for poll in polls if poll["outcome"] != "authorization_pending"]
    assert all(later["time"] - poll["time"] > 3 for poll, later in pairwise(polls))
    assert ["ok"] == [entry["outcome"] for entry in exchanges]
