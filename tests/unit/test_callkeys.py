"""Call tokens: the derived key pair, what is signed, and with which key."""

import base64
import hashlib

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sandbox_ctl.callkeys import Audience, CallKey, CallSigner
from tests.fakes import secret

OLD, NEW = {"key": "o" * 64}, {"key": "n" * 64}


def claims(token, key, audience="arn:task"):
    raw = base64.urlsafe_b64decode(key.public + "=")
    return jwt.decode(
        token,
        Ed25519PublicKey.from_public_bytes(raw),
        ["EdDSA"],
        audience=audience,
        options={"verify_exp": False, "verify_iat": False},
    )


def test_key_pair_is_the_same_every_time():
    """A function that starts anew derives the pair its sandboxes know."""
    assert CallKey.derive("s").public == CallKey.derive("s").public != CallKey.derive("t").public


def test_control_token_is_bound_to_its_call(clock):
    """Method, path and body are in it, for a minute."""
    signer = CallSigner(secret=secret(NEW), now=clock, new_id=lambda: "once")
    key = signer.current()
    audience = Audience("arn:task", "t", 4, key.kid)

    body = claims(signer.control(audience, method="POST", path="/sandboxd/bind", body=b"{}"), key)

    assert {
        "aud": "arn:task",
        "thread": "t",
        "gen": 4,
        "scope": "control",
        "method": "POST",
        "path": "/sandboxd/bind",
        "body": hashlib.sha256(b"{}").hexdigest(),
        "iat": int(clock.time),
        "exp": int(clock.time) + 60,
        "jti": "once",
    } == body


def test_sandbox_is_called_with_the_key_it_was_started_with(clock):
    """After a rotation older sandboxes are still called with the previous key."""
    old = CallKey.derive(OLD["key"])
    signer = CallSigner(secret=secret(NEW, OLD), now=clock)

    token = signer.use(Audience("arn:task", "t", 1, old.kid), scope="turn")

    assert claims(token, old)["scope"] == "turn"
    assert signer.current().kid != old.kid


def test_unknown_key_signs_nothing(clock):
    """After two rotations a sandbox can no longer be called."""
    with pytest.raises(LookupError):
        CallSigner(secret=secret(NEW), now=clock).use(Audience("arn", "t", 1, "gone"), scope="turn")
