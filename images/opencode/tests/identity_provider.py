"""The local identity provider as a process, and sandboxd's sign-in as its callers see it."""

import contextlib
import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import httpx
import jwt
from harness import IMAGE, Sandboxd

T = TypeVar("T")
ROOT = IMAGE.parents[1]
PYTHON = ROOT / ".venv" / "bin" / "python"
_ids = itertools.count(1)
_versions = itertools.count(1)


CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
"""OpenCode's."""


@dataclass(frozen=True)
class Granted:
    """Tokens of one grant, as the control plane has them."""

    access_token: str
    refresh_token: str
    account_id: str
    grant_id: str
    expires_at: int

    def lent(self, version: int, /, **changes: object) -> dict[str, Any]:
        """What a sandbox gets of it."""
        token = {"access_token": self.access_token, "expires_at": self.expires_at, "account_id": self.account_id}
        return {**token, "version": version, **changes}

    def entry(self) -> dict[str, Any]:
        """The whole of it, as OpenCode would keep it."""
        tokens = {"access": self.access_token, "refresh": self.refresh_token, "expires": self.expires_at * 1000}
        return {"type": "oauth", **tokens, "accountId": self.account_id}


@dataclass
class IdentityProvider:
    """A running one."""

    outward: dict[str, str]
    client: httpx.Client

    def approve(self, user_code: str, **more: str) -> None:
        answer = self.client.post("/codex/device/approve", json={"user_code": user_code, **more})
        assert answer.status_code == 200, answer.text

    def deny(self, user_code: str) -> None:
        assert self.client.post("/codex/device/deny", json={"user_code": user_code}).status_code == 200

    @contextlib.contextmanager
    def fault(self, endpoint: str, mode: str, **more: float) -> Iterator[None]:
        """Have an endpoint go wrong meanwhile."""
        answer = self.client.post("/faults", json={"endpoint": endpoint, "mode": mode, **more})
        assert answer.status_code == 204, answer.text
        try:
            yield
        finally:
            self.client.post("/faults", json={"endpoint": endpoint, "mode": "ok"})

    def journal(self, endpoint: str) -> list[dict[str, Any]]:
        return [entry for entry in self.client.get("/journal").json() if entry["endpoint"] == endpoint]

    def grant(self, account_id: str = "acct-1") -> Granted:
        """Sign in as somebody, without a sandbox."""
        asked = {"client_id": CLIENT_ID}
        code = self.client.post("/api/accounts/deviceauth/usercode", json=asked).json()
        self.approve(code["user_code"], account_id=account_id)
        polled = self.client.post("/api/accounts/deviceauth/token", json=code).json()
        form = {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "code": polled["authorization_code"],
            "code_verifier": polled["code_verifier"],
            "redirect_uri": "https://auth.openai.com/deviceauth/callback",
        }
        tokens = self.client.post("/oauth/token", data=form).json()
        claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
        return Granted(tokens["access_token"], tokens["refresh_token"], account_id, claims["sid"], claims["exp"])

    def refreshes(self) -> list[dict[str, Any]]:
        """What tried to refresh tokens."""
        return [entry for entry in self.journal("oauth_token") if entry["grant_type"] == "refresh_token"]

    def asked_with(self, since: int = 0) -> list[str]:
        """The grants that models were asked with, from that many requests on."""
        return [entry["grant_id"] for entry in self.journal("responses")[since:]]

    def polls(self, user_code: str) -> int:
        """How often an approval of that code was asked for."""
        return len([entry for entry in self.journal("token") if entry["user_code"] == user_code])


@contextlib.contextmanager
def identity_provider(directory: Path, *options: str) -> Iterator[IdentityProvider]:
    """The provider with the shortest poll that OpenCode knows (4 s); ended by SIGTERM."""
    command = [str(PYTHON), "-m", "local.idp", "--ca-dir", str(directory), "--interval", "1", *options]
    environment = {"PATH": os.environ["PATH"]}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            outward = {"HTTPS_PROXY": ready["proxy_url"], "NODE_EXTRA_CA_CERTS": ready["ca_file"]}
            with httpx.Client(base_url=ready["idp_url"], trust_env=False, timeout=30) as client:
                yield IdentityProvider(outward, client)
        finally:
            process.terminate()
            process.wait(5)


def eventually(condition: Callable[[], T], *, seconds: float = 60) -> T:
    """The first truthy answer of *condition*."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, f"it did not happen within {seconds} s"
        Event().wait(0.05)
    return answer


def newer_version() -> int:
    """One that no attempt has had."""
    return next(_versions)


@dataclass
class Attempt:
    """One attempt to sign in, with the tokens that its callers have."""

    sandboxd: Sandboxd
    method: int = 1
    seconds: float = 60
    id: str = field(default_factory=lambda: f"attempt-{next(_ids)}")
    version: int = field(default_factory=newer_version)
    user_code: str = ""

    def call(self, method: str, path: str = "", body: object = None) -> httpx.Response:
        answer = self.sandboxd.call(method, f"/sandboxd/signin{path}", body, token=self.sandboxd.plane.signin())
        assert path.endswith("/tokens") or "eyJ" not in answer.text
        return answer

    def begin(self) -> httpx.Response:
        answer = self.call("POST", "", {"attempt_id": self.id, "method": self.method, "seconds": self.seconds})
        if answer.status_code == 200:
            self.user_code = answer.json()["instructions"].removeprefix("Enter code: ")
        return answer

    def begin_when_possible(self) -> None:
        """Begin as soon as nothing of an earlier attempt is left."""
        eventually(lambda: self.begin().status_code == 200)

    def follow(self) -> None:
        assert self.call("POST", f"/{self.id}/callback").status_code == 202

    def watch(self, wait: float = 20) -> dict[str, Any]:
        """The last line."""
        answer = self.call("GET", f"/{self.id}?wait={wait}")
        assert answer.status_code == 200, answer.text
        line: dict[str, Any] = json.loads(answer.text.splitlines()[-1])
        return line

    def status(self, wait: float = 20) -> str:
        return str(self.watch(wait)["status"])

    def tokens(self) -> httpx.Response:
        return self.call("GET", f"/{self.id}/tokens")

    def accept(self) -> httpx.Response:
        return self.call("POST", f"/{self.id}/accept", {"version": self.version})

    def cancel(self) -> httpx.Response:
        return self.call("DELETE", f"/{self.id}")

    def sign_in(self, provider: IdentityProvider, **more: str) -> dict[str, Any]:
        """Through to the end; approved before it is asked for, which spares a poll."""
        self.begin_when_possible()
        provider.approve(self.user_code, **more)
        self.follow()
        approved = self.watch()
        assert approved["status"] == "approved", approved
        assert self.accept().status_code == 200
        return approved


@dataclass
class Lender:
    """The control plane as it lends access tokens to one sandbox; ``version`` is the newest that it used."""

    sandboxd: Sandboxd
    version: int = 0

    def lend(self, granted: Granted, version: int | None = None) -> int | None:
        """Lend the token, as the newest unless told otherwise; return the version that the sandbox holds then."""
        lent = granted.lent(version or self.version + 1)
        self.version = max(self.version, lent["version"])
        answer = self.sandboxd.call("PUT", "/sandboxd/providers/openai", lent)
        assert answer.status_code == 200, answer.text
        held: int | None = answer.json()["version"]
        return held

    def held(self) -> int | None:
        """The version that the sandbox says it holds."""
        version: int | None = self.sandboxd.call("GET", "/sandboxd/status").json()["codex_version"]
        return version

    def take_back(self, version: int) -> bool:
        """Have it removed; return whether there was anything."""
        self.version = max(self.version, version)
        answer = self.sandboxd.call("DELETE", f"/sandboxd/providers/openai?version={version}")
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["removed"])


def credentials_file(sandboxd: Sandboxd) -> Path:
    """Where OpenCode keeps them."""
    return sandboxd.directory / "home" / ".local" / "share" / "opencode" / "auth.json"


def credentials(sandboxd: Sandboxd) -> dict[str, Any] | None:
    """OpenCode's entry of the provider."""
    file = credentials_file(sandboxd)
    entry: dict[str, Any] | None = json.loads(file.read_text()).get("openai") if file.exists() else None
    return entry
