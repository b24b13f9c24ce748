"""
Fifty callbacks at once, as HTTP requests to the deployed stack.

The embedded AWS gives each call under way a process of its own, as AWS gives it an environment: fifty of them are 3 GB,
and take two processors a minute to start.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise

import pytest

from tests.e2e.signing_in import PATIENCE, SigningIn
from tests.waiting import eventually

pytestmark = pytest.mark.long

CROWD = 50
PLACES = 3
ACCOUNT = "acct-crowd"


def test_of_fifty_callbacks_three_wait(stack, token):
    """The others are told to come again, at once or with a 202; OpenCode asks the provider once for them all."""
    with closing(SigningIn(stack, token)) as signing_in, ThreadPoolExecutor(CROWD) as pool:
        signing_in.start_functions(CROWD)
        begun = signing_in.begin()
        calls = [pool.submit(signing_in.callback) for _ in range(CROWD)]
        eventually(lambda: sum(call.done() for call in calls) >= CROWD - PLACES)
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
    assert [(200, ACCOUNT)] * PLACES == [(answer.status_code, answer.json()["account_id"]) for answer in answers]
    assert ["ok"] == [poll["outcome"] for poll in polls if poll["outcome"] != "authorization_pending"]
    assert all(later["time"] - poll["time"] > 3 for poll, later in pairwise(polls))
    assert ["ok"] == [entry["outcome"] for entry in exchanges]
