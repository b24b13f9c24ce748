"""
The key pair that signs calls to sandboxes, and the two kinds of call token.

CloudFormation can generate a secret but no key pair, so the pair is derived from one (HKDF-SHA256, RFC 5869, to an
Ed25519 seed, RFC 8032). Its key id is the start of the public key's SHA-256. A sandbox is given public keys only.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from threadbox.clock import unix_time
from threadbox.secrets import JsonSecret

CONTROL_LIFE = 60
USE_LIFE = 900
Scope = Literal["turn", "signin"]


@dataclass(frozen=True)
class CallKey:
    """One key pair."""

    seed: bytes

    @classmethod
    def derive(cls, secret: str) -> "CallKey":
        """Return the pair that *secret* stands for, the same one every time."""
        kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"threadbox call key 1")
        return cls(kdf.derive(secret.encode()))

    @cached_property
    def private(self) -> Ed25519PrivateKey:
        """The signing half."""
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def public(self) -> str:
        """The verifying half: 32 bytes, base64url without padding."""
        return base64.urlsafe_b64encode(self.private.public_key().public_bytes_raw()).rstrip(b"=").decode()

    @cached_property
    def kid(self) -> str:
        """The key id."""
        return hashlib.sha256(self.public.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Audience:
    """The one sandbox a call is for."""

    task_arn: str
    thread_id: str
    generation: int
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSigner:
    """Signs with the key a sandbox was started with: the secret's current value or the one before it."""

    secret: JsonSecret
    now: Callable[[], float] = unix_time
    new_id: Callable[[], str] = lambda: uuid4().hex

    def current(self) -> CallKey:
        """Return the key that new sandboxes are started with."""
        return CallKey.derive(self.secret.current()["key"])

    def control(self, audience: Audience, *, method: str, path: str, body: bytes) -> str:
        """Return a token for one control call, bound to *method*, *path* (with its query) and *body*."""
        digest = hashlib.sha256(body).hexdigest()
        return self._sign(audience, CONTROL_LIFE, scope="control", method=method, path=path, body=digest)

    def use(self, audience: Audience, *, scope: Scope, life: int = USE_LIFE) -> str:
        """Return a use token: it opens the routes of *scope* for *life* seconds."""
        return self._sign(audience, life, scope=scope)

    def _sign(self, audience: Audience, life: int, **claims: str) -> str:
        key = self._key(audience.key_id)
        issued = int(self.now())
        return jwt.encode(
            {
                "aud": audience.task_arn,
                "thread": audience.thread_id,
                "gen": audience.generation,
                "iat": issued,
                "exp": issued + life,
                "jti": self.new_id(),
                **claims,
            },
            key.private,
            algorithm="EdDSA",
            headers={"kid": key.kid},
        )

    def _key(self, key_id: str) -> CallKey:
        for value in (self.secret.current(), self.secret.previous()):
            if value is not None and (key := CallKey.derive(value["key"])).kid == key_id:
                return key
        raise LookupError(f"call key {key_id} is neither the current nor the previous one")
