"""Which tokens are genuine."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from harness import ControlPlane

from sandboxd.errors import UnauthorizedError
from sandboxd.tokens import CLOCK_SKEW_SECONDS, TokenVerifier, public_keys


class Clock:
    time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


@pytest.fixture
def verifier(plane: ControlPlane, clock: Clock) -> TokenVerifier:
    return TokenVerifier(public_keys(plane.public_keys), audience=plane.audience, now=clock)


def claims(plane: ControlPlane, clock: Clock, **changes: object) -> dict[str, object]:
    now = int(clock.time)
    return plane.claims("turn", **({"iat": now, "exp": now + 900} | changes))


def test_a_genuine_token_is_read(plane: ControlPlane, verifier: TokenVerifier, clock: Clock) -> None:
    """The claims come back as they were signed."""
    verified = verifier.verify(plane.sign(claims(plane, clock)))

    assert (verified.thread, verified.gen, verified.scope) == ("thread-1", 1, "turn")


WRONG_CLAIMS: dict[str, dict[str, object]] = {
    "another task's audience": {"aud": "arn:aws:ecs:eu-central-1:000000000000:task/threadbox/other"},
    "several audiences": {"aud": ["arn:aws:ecs:eu-central-1:000000000000:task/threadbox/0123456789abcdef", "x"]},
    "no audience": {"aud": None},
    "no thread": {"thread": None},
    "no generation": {"gen": None},
    "a generation that is text": {"gen": "1"},
    "a generation that is true": {"gen": True},
    "no scope": {"scope": None},
    "an unknown scope": {"scope": "admin"},
    "no iat": {"iat": None},
    "no exp": {"exp": None},
    "no jti": {"jti": None},
    "an empty jti": {"jti": ""},
    "an endless jti": {"jti": "x" * 129},
    "already run out": {"iat": 1_799_999_000, "exp": 1_799_999_900},
    "runs out this second": {"iat": 1_799_999_100, "exp": 1_800_000_000},
    "not yet valid": {"iat": 1_800_000_000 + CLOCK_SKEW_SECONDS + 1, "exp": 1_800_000_300},
    "lives longer than a use token may": {"exp": 1_800_000_901},
    "ends before it begins": {"iat": 1_800_000_003, "exp": 1_800_000_002},
    "a control token that lives longer than a minute": {"scope": "control", "exp": 1_800_000_061},
}


@pytest.mark.parametrize("changes", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
def test_wrong_claims_are_refused(
    plane: ControlPlane, verifier: TokenVerifier, clock: Clock, changes: dict[str, object]
) -> None:
    """A right signature does not help a token that says the wrong thing."""
    with pytest.raises(UnauthorizedError):
        verifier.verify(plane.sign(claims(plane, clock, **changes)))


def test_a_sign_in_token_is_genuine_too(plane: ControlPlane, verifier: TokenVerifier, clock: Clock) -> None:
    """There are two kinds of use token."""
    assert verifier.verify(plane.sign(claims(plane, clock, scope="signin"))).scope == "signin"


def test_a_small_difference_of_clocks_is_borne(plane: ControlPlane, verifier: TokenVerifier, clock: Clock) -> None:
    """The signer's clock may be a little ahead."""
    token = plane.sign(claims(plane, clock))
    clock.time -= CLOCK_SKEW_SECONDS

    assert verifier.verify(token).thread == "thread-1"


def _unsigned(plane: ControlPlane, body: dict[str, object]) -> str:
    return jwt.encode(body, "", "none", headers={"kid": plane.kid})


def _hmac_keyed_with_the_public_key(plane: ControlPlane, body: dict[str, object]) -> str:
    """The classic confusion: the verifier's public key taken for a shared secret."""

    def encode(part: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()

    head = f"{encode({'alg': 'HS256', 'typ': 'JWT', 'kid': plane.kid})}.{encode(body)}"
    key = plane.private_key.public_key().public_bytes_raw()
    signature = hmac.digest(key, head.encode(), hashlib.sha256)
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _signed_by_a_stranger(plane: ControlPlane, body: dict[str, object]) -> str:
    return jwt.encode(body, Ed25519PrivateKey.generate(), "EdDSA", headers={"kid": plane.kid})


def _unknown_kid(plane: ControlPlane, body: dict[str, object]) -> str:
    return jwt.encode(body, plane.private_key, "EdDSA", headers={"kid": "k2"})


def _no_kid(plane: ControlPlane, body: dict[str, object]) -> str:
    return jwt.encode(body, plane.private_key, "EdDSA")


def _changed_body(plane: ControlPlane, body: dict[str, object]) -> str:
    head, _, signature = plane.sign(body).split(".")
    _, other, _ = plane.sign({**body, "gen": 2}).split(".")
    return f"{head}.{other}.{signature}"


def _cut_signature(plane: ControlPlane, body: dict[str, object]) -> str:
    return plane.sign(body)[:-4]


def _not_a_token(plane: ControlPlane, body: dict[str, object]) -> str:
    return "a.b.c"


@pytest.mark.parametrize(
    "forge",
    [
        _unsigned,
        _hmac_keyed_with_the_public_key,
        _signed_by_a_stranger,
        _unknown_kid,
        _no_kid,
        _changed_body,
        _cut_signature,
        _not_a_token,
    ],
)
def test_forgeries_are_refused(
    plane: ControlPlane,
    verifier: TokenVerifier,
    clock: Clock,
    forge: Callable[[ControlPlane, dict[str, object]], str],
) -> None:
    """Right claims do not help a token that was not signed with our key."""
    with pytest.raises(UnauthorizedError):
        verifier.verify(forge(plane, claims(plane, clock)))


def test_a_refusal_does_not_say_why(plane: ControlPlane, verifier: TokenVerifier, clock: Clock) -> None:
    """Whoever guesses learns nothing from the answer."""
    messages = set()
    for token in (_unsigned(plane, claims(plane, clock)), plane.sign(claims(plane, clock, aud="x")), ""):
        with pytest.raises(UnauthorizedError) as refusal:
            verifier.verify(token)
        messages.add(str(refusal.value))

    assert len(messages) == 1


def test_a_control_token_is_good_for_one_use(plane: ControlPlane, verifier: TokenVerifier, clock: Clock) -> None:
    """A replay is refused."""
    now = int(clock.time)
    verified = verifier.verify(plane.sign(claims(plane, clock, scope="control", iat=now, exp=now + 60)))
    verifier.spend(verified)

    with pytest.raises(UnauthorizedError):
        verifier.spend(verified)


def test_memory_of_used_tokens_is_bounded(plane: ControlPlane, clock: Clock) -> None:
    """When it is full of live tokens further ones are refused; those that ran out make room."""
    verifier = TokenVerifier(public_keys(plane.public_keys), audience=plane.audience, now=clock, remembered_calls=2)
    now = int(clock.time)
    first, second, third = (
        verifier.verify(plane.sign(claims(plane, clock, scope="control", iat=now, exp=now + 60))) for _ in range(3)
    )
    verifier.spend(first)
    verifier.spend(second)
    with pytest.raises(UnauthorizedError):
        verifier.spend(third)

    clock.time += 60
    verifier.spend(third)


@pytest.mark.parametrize("text", ["", "AAAA", "not base64 at all", "A" * 44])
def test_a_broken_key_set_is_refused(text: str) -> None:
    """sandboxd does not start with a key it cannot read."""
    with pytest.raises(ValueError, match=r"."):
        public_keys({"k1": text})
