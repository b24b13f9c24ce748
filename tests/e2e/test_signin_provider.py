"""
What the identity provider fails in, as the deployed stack tells it.

Run alone: the provider would fail whoever else signs in there. What OpenCode and sandboxd make of each failure is in
``images/opencode/tests/integration/test_signin.py``.
"""

from collections.abc import Iterator
from contextlib import closing
from time import monotonic

import pytest

from tests.e2e.signing_in import SigningIn

pytestmark = pytest.mark.long

SLOW = 6
# More than sandboxd gives it.
TOO_SLOW = 20


@pytest.fixture(scope="module")
def thread_of_all(stack, token) -> Iterator[SigningIn]:
    """One sandbox for all."""
    with closing(SigningIn(stack, token)) as signing_in:
        signing_in.begin()
        signing_in.cancel()
        yield signing_in


@pytest.fixture
def signing_in(thread_of_all) -> SigningIn:
    """A thread that has all its attempts of an hour."""
    thread_of_all.an_hour_passes()
    return thread_of_all


@pytest.mark.parametrize("mode", ["down", "500", "429", "garbage", "slow"])
def test_provider_that_gives_no_code_is_unreachable(signing_in, mode):
    """502, whatever it fails in; the attempt has ended."""
    with signing_in.fault("usercode", mode, seconds=TOO_SLOW):
        answer = signing_in.authorize_when_possible()
    assert (502, "provider_unreachable") == (answer.status_code, answer.json()["code"])
    assert "failed" == signing_in.attempt()["status"]


@pytest.mark.parametrize(
    ("endpoint", "mode", "status", "code"),
    [
        ("token", "429", 403, "signin_denied"),
        ("token", "500", 403, "signin_denied"),
        ("token", "garbage", 502, "opencode_error"),
        ("token", "down", 502, "opencode_error"),
        ("oauth_token", "429", 502, "opencode_error"),
        ("oauth_token", "500", 502, "opencode_error"),
        ("oauth_token", "garbage", 502, "opencode_error"),
        ("oauth_token", "down", 502, "opencode_error"),
    ],
)
def test_provider_that_fails_afterwards_ends_it(signing_in, endpoint, mode, status, code):
    """As what OpenCode makes of it; nothing is connected."""
    begun = signing_in.begin()
    with signing_in.fault(endpoint, mode):
        signing_in.decide(begun)
        answer = signing_in.callback()
    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert not signing_in.codex()["connected"]


@pytest.mark.parametrize("endpoint", ["usercode", "token", "oauth_token"])
def test_provider_that_is_slow_is_waited_for(signing_in, endpoint):
    """It connects no less."""
    began = monotonic()
    with signing_in.fault(endpoint, "slow", seconds=SLOW):
        signing_in.decide(signing_in.begin())
        answer = signing_in.callback()
    assert monotonic() - began >= SLOW
    assert 200 == answer.status_code, answer.text
    assert {"ok": True, "removed": True} == signing_in.http.delete(signing_in.path).json()
