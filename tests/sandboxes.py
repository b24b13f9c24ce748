"""Sandboxd behind the control calls about commands and files, as far as a function sees it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt

from sandbox_ctl.callkeys import CallKey

KEY = CallKey.derive("k" * 64)


@dataclass
class ScriptedSandbox:
    """
    For httpx's MockTransport: takes only what is signed as control calls are, and answers what it is told to.

    ``answers`` maps ``METHOD path`` (without the query) to status and body. ``meanwhile`` happens before an answer.
    """

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    calls: list[httpx.Request] = field(default_factory=list)
    unreachable: bool = False
    meanwhile: Callable[[], object] = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.unreachable:
            raise httpx.ConnectError("nobody", request=request)
        path = request.url.raw_path.decode()
        token = request.headers["authorization"].removeprefix("Bearer ")
        # Not its times: the clock of a test may stand.
        options = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, KEY.private.public_key(), algorithms=["EdDSA"], options=options)
        signed = (claims["scope"], claims["method"], claims["path"], claims["body"])
        assert ("control", request.method, path, hashlib.sha256(request.content).hexdigest()) == signed
        self.calls.append(request)
        self.meanwhile()
        status, body = self.answers[f"{request.method} {path.partition('?')[0]}"]
        if isinstance(body, bytes):
            return httpx.Response(status, content=body, headers={"content-type": "application/octet-stream"})
        return httpx.Response(status, json=body)

    def refuse(self, call: str, status: int, code: str, **more: str) -> None:
        """Refuse a call."""
        self.answers[call] = (status, {"code": code, "message": "as sandboxd says it", **more})

    def bodies(self) -> list[Any]:
        """Return what was asked for, where that is JSON."""
        return [json.loads(call.content) for call in self.calls if call.content]
