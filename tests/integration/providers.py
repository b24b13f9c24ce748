"""The local identity provider as a process, and the real OpenCode that signs in with it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local.ecs.image import Image
from local.idp.wire import CLIENT_ID, DEVICE_REDIRECT
from tests.stacks import ROOT
from tests.waiting import eventually


@dataclass
class Provider:
    """A running identity provider."""

    idp_url: str
    proxy_url: str
    ca_file: str
    client: httpx.Client

    def approve(self, user_code: str, **more: str) -> None:
        answer = self.client.post("/codex/device/approve", json={"user_code": user_code, **more})
        assert answer.status_code == 200, answer.text

    def deny(self, user_code: str) -> None:
        assert self.client.post("/codex/device/deny", json={"user_code": user_code}).status_code == 200

    def tokens(self) -> dict[str, Any]:
        """A new grant's tokens, had without an OpenCode."""
        asked = self.client.post("/api/accounts/deviceauth/usercode", json={"client_id": CLIENT_ID}).json()
        self.approve(asked["user_code"])
        polled = self.client.post("/api/accounts/deviceauth/token", json=asked).raise_for_status().json()
        form = {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "redirect_uri": DEVICE_REDIRECT,
            "code": polled["authorization_code"],
            "code_verifier": polled["code_verifier"],
        }
        tokens: dict[str, Any] = self.client.post("/oauth/token", data=form).raise_for_status().json()
        return tokens

    def refresh(self, refresh_token: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": refresh_token}
        return self.client.post("/oauth/token", data=form)

    def fault(self, endpoint: str, mode: str, **more: float) -> None:
        answer = self.client.post("/faults", json={"endpoint": endpoint, "mode": mode, **more})
        assert answer.status_code == 204, answer.text

    def journal(self, endpoint: str) -> list[dict[str, Any]]:
        return [entry for entry in self.client.get("/journal").json() if entry["endpoint"] == endpoint]

    def outcomes(self, endpoint: str) -> list[str]:
        return [entry["outcome"] for entry in self.journal(endpoint)]


@contextlib.contextmanager
def provider(directory: Path, *options: str) -> Iterator[Provider]:
    """The provider with those options; ended by SIGTERM, which it obeys at once."""
    command = [sys.executable, "-m", "local.idp", "--ca-dir", str(directory), "--interval", "1", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            with httpx.Client(base_url=ready["idp_url"], trust_env=False, timeout=30) as client:
                yield Provider(**ready, client=client)
            process.terminate()
            process.wait(5)
        finally:
            process.kill()


@dataclass
class OpenCode:
    """A running OpenCode."""

    client: httpx.Client
    data: Path
    log: Path

    def authorize(self, method: int = 1) -> httpx.Response:
        return self.client.post("/provider/openai/oauth/authorize", json={"method": method})

    def user_code(self) -> str:
        answer = self.authorize()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["instructions"]).removeprefix("Enter code: ")

    def callback(self, method: int = 1) -> httpx.Response:
        return self.client.post("/provider/openai/oauth/callback", json={"method": method})

    def sign_in(self, provider: Provider) -> None:
        """From nothing to a connected provider; the code is approved before it is asked for."""
        provider.approve(self.user_code())
        answer = self.callback()
        assert (answer.status_code, answer.json()) == (200, True), answer.text
        # The first sign-in counts only after this.
        self.client.post("/instance/dispose").raise_for_status()

    def auth(self) -> dict[str, Any]:
        """What it keeps of the sign-in."""
        content: dict[str, Any] = json.loads((self.data / "opencode" / "auth.json").read_text())
        return content

    def write_auth(self, content: dict[str, Any]) -> None:
        (self.data / "opencode" / "auth.json").write_text(json.dumps(content))

    def ask(self, text: str) -> dict[str, Any]:
        """What the Codex model answers: OpenCode's message with its parts."""
        session = self.client.post("/session", json={"title": "a test"}).json()["id"]
        body = {"model": {"providerID": "openai", "modelID": self.model()}, "parts": [{"type": "text", "text": text}]}
        answer = self.client.post(f"/session/{session}/message", json=body)
        assert answer.status_code == 200, answer.text
        message: dict[str, Any] = answer.json()
        return message

    def model(self) -> str:
        """The default model of the provider."""
        default: str = self.client.get("/config/providers").json()["default"]["openai"]
        return default


@contextlib.contextmanager
def opencode(directory: Path, provider: Provider) -> Iterator[OpenCode]:
    """OpenCode as it comes, with nothing but two variables that lead it to the provider."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    home = directory / "home"
    (directory / "work").mkdir(parents=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "HTTPS_PROXY": provider.proxy_url,
        "NO_PROXY": "127.0.0.1,localhost",
        "NODE_EXTRA_CA_CERTS": provider.ca_file,
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_CONFIG_CONTENT": json.dumps({"autoupdate": False, "share": "disabled"}),
    }
    binary = Image.find(ROOT / "images" / "opencode").opencode
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(binary), "serve", "--hostname", "127.0.0.1", "--port", str(port)],
            env=environment, cwd=directory / "work", stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        eventually(lambda: "server listening on" in log.read_text() or process.poll(), seconds=60)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            yield OpenCode(client=client, data=home / "data", log=log)
    finally:
        process.kill()
        process.wait()
