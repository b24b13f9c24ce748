"""Signing in on the stack, as the web app, its user and the identity provider see it."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import boto3
import httpx

from tests.e2e.threads import Thread
from tests.waiting import eventually

PATIENCE = 150
COLD_SECONDS = 400


class SigningIn:
    """The sign-ins of one thread."""

    def __init__(self, stack: Any, token: Any, *, user: str = "ann") -> None:
        self.thread = Thread(stack, token, user=user)
        self.stack = stack
        self.new_token = token
        self.path = f"/api/sandbox/{self.thread.name}/opencode/provider/openai"
        self.key = {"thread_id": self.thread.name, "sk": "SIGNIN"}
        self.table = boto3.resource("dynamodb", endpoint_url=stack.aws_url).Table(stack.outputs["TableName"])
        self.http = self.client(self.thread.token)
        self.idp = httpx.Client(base_url=stack.idp_url, timeout=30)

    def client(self, token: str, **options: Any) -> httpx.Client:
        """Return a client that sends *token* and goes where it is sent on to: httpx with the options of the docs."""
        options = {"follow_redirects": True, "timeout": httpx.Timeout(60)} | options
        return httpx.Client(base_url=self.stack.http_url, headers={"Authorization": f"Bearer {token}"}, **options)

    def start_functions(self, calls: int) -> None:
        """
        Have as many processes of the function as there will be calls at once.

        The embedded AWS starts one for each call that comes while others are under way. On a busy machine that takes
        longer than an attempt lasts here, so they are started before it begins, again and again those that were given
        up because they took 29 s to start.
        """
        path = "/api/sandbox/opencode-oauth/redirect?state=s"
        with (
            self.client(self.thread.token, follow_redirects=False, timeout=COLD_SECONDS) as client,
            ThreadPoolExecutor(calls) as pool,
        ):
            eventually(
                lambda: {302} == {answer.status_code for answer in pool.map(lambda _: client.get(path), range(calls))},
                seconds=COLD_SECONDS,
            )

    def authorize(self, method: int = 1, *, prefer: str = "", **body: Any) -> httpx.Response:
        """Begin, whatever the answer."""
        headers = {"Prefer": prefer} if prefer else {}
        return self.http.post(f"{self.path}/oauth/authorize", json={"method": method, **body}, headers=headers)

    def authorize_when_possible(self, **body: Any) -> httpx.Response:
        """Begin as soon as what was before has ended, and the sandbox runs."""

        def possible() -> httpx.Response | None:
            answer = self.authorize(**body)
            return None if answer.status_code in (409, 503) else answer

        return cast("httpx.Response", eventually(possible, seconds=PATIENCE))

    def begin(self, **body: Any) -> dict[str, Any]:
        """Begin when possible, and return what the user needs."""
        answer = self.authorize_when_possible(**body)
        assert answer.status_code == 200, answer.text
        begun: dict[str, Any] = answer.json()
        return begun

    def callback(
        self, client: httpx.Client | None = None, query: str = "", *, method: int = 1, **headers: str
    ) -> httpx.Response:
        """Wait."""
        path = f"{self.path}/oauth/callback{query}"
        return (client or self.http).post(path, json={"method": method}, headers=headers)

    def complete(self, sent: dict[str, str], client: httpx.Client | None = None, **headers: str) -> httpx.Response:
        """Hand on what the provider sent the browser back with, and wait."""
        body = {"method": 0, **sent}
        return (client or self.http).post(f"{self.path}/oauth/callback", json=body, headers=headers)

    def curl(self) -> tuple[int, int, str]:
        """Wait with curl and the options of the docs; return the status, how often it was sent on, and the body."""
        done = subprocess.run(
            ["curl", "--silent", "--location", "--header", f"Authorization: Bearer {self.thread.token}",
             "--header", "Content-Type: application/json", "--data", '{"method":1}',
             "--write-out", "\n%{http_code} %{num_redirects}",
             f"{self.stack.http_url}{self.path}/oauth/callback"],
            capture_output=True, text=True, timeout=PATIENCE, check=True,
        )  # fmt: skip
        body, _, said = done.stdout.rpartition("\n")
        status, redirects = said.split()
        return int(status), int(redirects), body

    def attempt(self) -> dict[str, Any]:
        """Return the attempt."""
        attempt: dict[str, Any] = self.http.get(f"{self.path}/oauth/attempt").raise_for_status().json()
        return attempt

    def cancel(self) -> dict[str, Any]:
        """Call it off."""
        attempt: dict[str, Any] = self.http.delete(f"{self.path}/oauth/attempt").raise_for_status().json()
        return attempt

    def row(self) -> dict[str, Any]:
        """Return what is stored of it."""
        return self.table.get_item(Key=self.key, ConsistentRead=True)["Item"]

    def an_hour_passes(self) -> None:
        """Let the thread, which had some, have all its attempts of an hour again."""
        begun = "attribute_exists(attempt_id)"
        self.table.update_item(Key=self.key, UpdateExpression="REMOVE begun", ConditionExpression=begun)

    def codex(self) -> dict[str, Any]:
        """Return the connection's state."""
        codex: dict[str, Any] = self.thread.sandbox()["codex"]
        return codex

    def decide(self, begun: dict[str, Any], decision: str = "approve", **more: str) -> float:
        """Approve or deny as the user, at the provider; return when."""
        answer = self.idp.post(f"/codex/device/{decision}", json={"user_code": begun["user_code"], **more})
        assert answer.status_code == 200, answer.text
        return monotonic()

    def connect(self, **more: Any) -> dict[str, Any]:
        """Sign in from the beginning to the end, and return the connection's state."""
        begun = self.begin(**more)
        self.decide(begun)
        answer = self.callback()
        assert answer.status_code == 200, answer.text
        return self.codex()

    def restart(self) -> int:
        """End the thread's sandbox, so that the next message starts another; return its generation."""
        generation: int = self.http.delete(f"/api/sandbox/{self.thread.name}").raise_for_status().json()["generation"]
        eventually(lambda: not self.runs(), seconds=60)
        return generation

    def runs(self) -> bool:
        """Say whether the thread has a sandbox that has not ended."""
        return self.thread.sandbox()["state"] not in ("stopped", "failed")

    def sent_back(self, begun: dict[str, Any]) -> dict[str, str]:
        """Approve on the page that the browser was sent to; return code and state from the address it goes back to."""
        page = urlsplit(begun["url"])
        answer = self.idp.post(f"{page.path}/approve", data=dict(parse_qsl(page.query)))
        assert answer.status_code == 303, answer.text
        return dict(parse_qsl(urlsplit(answer.headers["location"]).query))

    def polls(self, begun: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what OpenCode asked the provider about the code, oldest first."""
        return [entry for entry in self.journal("token") if entry["user_code"] == begun["user_code"]]

    def journal(self, endpoint: str) -> list[dict[str, Any]]:
        """Return the calls of that endpoint of the provider's, oldest first."""
        entries: list[dict[str, Any]] = self.idp.get("/journal").json()
        return [entry for entry in entries if entry["endpoint"] == endpoint]

    def approved_at(self, begun: dict[str, Any]) -> float:
        """Return when OpenCode asked and was told of the approval, in epoch seconds."""
        return next(float(poll["time"]) for poll in self.polls(begun) if poll["outcome"] == "ok")

    @contextmanager
    def fault(self, endpoint: str, mode: str, **more: float) -> Iterator[None]:
        """Have the provider fail."""
        self.idp.post("/faults", json={"endpoint": endpoint, "mode": mode, **more}).raise_for_status()
        try:
            yield
        finally:
            self.idp.post("/faults", json={"endpoint": endpoint, "mode": "ok"}).raise_for_status()

    def close(self) -> None:
        """Stop the sandbox."""
        self.thread.close()
        self.http.close()
        self.idp.close()


def notices(frames: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what the frames of a socket tell outside of any answer: of the sandbox's start, and of the sign-in."""
    for frame in frames:
        if frame["type"] == "cf_agent_use_chat_response" and frame["id"].startswith("notice-"):
            yield json.loads(frame["body"])
