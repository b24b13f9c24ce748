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
from harness import IMAGE, Sandboxd

T = TypeVar("T")
ROOT = IMAGE.parents[1]
PYTHON = ROOT / ".venv" / "bin" / "python"
_ids = itertools.count(1)


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


@dataclass
class Attempt:
    """One attempt to sign in, with the tokens that its callers have."""

    sandboxd: Sandboxd
    method: int = 1
    seconds: float = 60
    id: str = field(default_factory=lambda: f"attempt-{next(_ids)}")
    user_code: str = ""

    def call(self, method: str, path: str = "", body: object = None) -> httpx.Response:
        answer = self.sandboxd.call(method, f"/sandboxd/signin{path}", body, token=self.sandboxd.plane.signin())
        assert "eyJ" not in answer.text
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

    def accept(self) -> httpx.Response:
        return self.call("POST", f"/{self.id}/accept")

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


def credentials_file(sandboxd: Sandboxd) -> Path:
    """Where OpenCode keeps them."""
    return sandboxd.directory / "home" / ".local" / "share" / "opencode" / "auth.json"


def credentials(sandboxd: Sandboxd) -> dict[str, Any] | None:
    """OpenCode's entry of the provider."""
    file = credentials_file(sandboxd)
    entry: dict[str, Any] | None = json.loads(file.read_text()).get("openai") if file.exists() else None
    return entry
