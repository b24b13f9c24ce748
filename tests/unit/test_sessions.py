"""Session tokens: the good one passes, every other is refused."""

import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fakes import FakeSecrets, secret
from threadbox.errors import ForbiddenError, UnauthorizedError
from threadbox.secrets import JsonSecret
from threadbox.sessions import SessionVerifier

CURRENT = {"kid": "k2", "key": "c" * 64}
PREVIOUS = {"kid": "k1", "key": "p" * 64}


@pytest.fixture
def verifier():
    return SessionVerifier(secret=secret(CURRENT, PREVIOUS))


def token(*, key=CURRENT, algorithm="HS256", without=(), **claims):
    now = int(time.time())
    payload = {"aud": "threadbox", "thread_id": "t", "user_id": "u", "iat": now, "exp": now + 600} | claims
    payload = {name: value for name, value in payload.items() if name not in without}
    return jwt.encode(payload, key["key"] if algorithm != "none" else None, algorithm, headers={"kid": key["kid"]})


def test_token_of_the_thread_is_accepted(verifier):
    """The claims come back as the session."""
    session = verifier.verify(token(), thread_id="t")
    assert (session.thread_id, session.user_id) == ("t", "u")


def test_previous_key_is_accepted(verifier):
    """A rotation signs nobody out."""
    assert verifier.verify(token(key=PREVIOUS), thread_id="t").user_id == "u"


def test_token_of_another_thread_is_forbidden(verifier):
    """A valid token opens its own thread only."""
    with pytest.raises(ForbiddenError):
        verifier.verify(token(), thread_id="other")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "x",
        "a.b.c",
        token(exp=int(time.time()) - 60),
        token(iat=int(time.time()) + 300, exp=int(time.time()) + 600),
        token(nbf=int(time.time()) + 300),
        token(exp=int(time.time()) + 901 + 60),
        token(aud="another"),
        token(algorithm="none"),
        token(algorithm="HS512"),
        token(key={"kid": "k2", "key": "x" * 64}),
        token(key={"kid": "k9", "key": "c" * 64}),
        token(without=["aud"]),
        token(without=["exp"]),
        token(without=["iat"]),
        token(without=["thread_id"]),
        token(without=["user_id"]),
        token(user_id=""),
        token(user_id=7),
        token(thread_id="a/b"),
    ],
    ids=[
        "empty",
        "no token",
        "not a JWT",
        "expired",
        "issued later",
        "not yet valid",
        "lives too long",
        "another audience",
        "alg none",
        "another algorithm",
        "another key",
        "unknown kid",
        "no aud",
        "no exp",
        "no iat",
        "no thread",
        "no user",
        "empty user",
        "user is a number",
        "thread with a slash",
    ],
)
def test_bad_token_is_unauthorized(verifier, bad):
    """Whatever is wrong with it, the answer is the same and tells nothing."""
    with pytest.raises(UnauthorizedError, match=r"expired or not valid|15 minutes"):
        verifier.verify(bad, thread_id="t")


def test_public_key_confusion_is_refused(verifier):
    """A token of another algorithm family is refused whatever its key."""
    confused = jwt.encode({"aud": "threadbox"}, Ed25519PrivateKey.generate(), "EdDSA", headers={"kid": "k2"})
    with pytest.raises(UnauthorizedError):
        verifier.verify(confused, thread_id="t")


def test_secret_is_read_again_after_its_age(clock):
    """Keys are kept for a few minutes, so that a rotation is seen without a deployment."""
    secrets = FakeSecrets(CURRENT)
    kept = JsonSecret(client=secrets, arn="arn", max_age=300, clock=clock)
    assert CURRENT == kept.current() == kept.current()
    assert secrets.reads == 1

    secrets.stages["AWSCURRENT"] = PREVIOUS
    clock.time += 301

    assert kept.current() == PREVIOUS


def test_expired_token_is_told_apart_only_where_that_is_asked(verifier):
    """A hop of a waiting call sees to the end itself; all else about the token is still checked."""
    old = token(iat=int(time.time()) - 1000, exp=int(time.time()) - 100)
    with pytest.raises(UnauthorizedError):
        verifier.verify(old, thread_id="t")
    assert verifier.verify(old, thread_id="t", even_expired=True).exp < time.time()
    with pytest.raises(ForbiddenError):
        verifier.verify(old, thread_id="other", even_expired=True)
    with pytest.raises(UnauthorizedError):
        verifier.verify(old[:-4] + "AAAA", thread_id="t", even_expired=True)
