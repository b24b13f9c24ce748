"""
``make smoke ENV=…``: does once what a user does, against a deployed stack, and says how each step went.

Health, a session token, a thread over the real socket, an answer, the history, the end of the sandbox, the end of the
thread. Nothing of it stays; the answer takes a model that the stack can reach.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from local.stack.session_token import signed
from operate.stacks import READ_SECONDS, DeployedStack, NoStackError
from operate.steps import StepFailedError, Steps
from operate.tab import CONNECT, Connect, Tab

TOKEN_SECONDS = 900
REQUEST_SECONDS = 40
# A first start pulls the image; then the model has its time.
ANSWER_SECONDS = 300
STOP_SECONDS = 60
PAUSE = 1.0
ENDED = ("stopped", "failed")
QUESTION = "Say hello in one short sentence."


def main() -> int:
    """Do it; 0 when every step went well."""
    parser = argparse.ArgumentParser(prog="operate.smoke", description=__doc__)
    parser.add_argument("--env", required=True, help="an environment of samconfig.toml, or: local")
    parser.add_argument("--seconds", type=float, default=ANSWER_SECONDS, help="how long the answer may take")
    asked = parser.parse_args()
    try:
        stack = DeployedStack.of(asked.env)
        Smoke.of(stack, seconds=asked.seconds).run(Steps())
    except StepFailedError as error:
        print(f"make smoke failed at: {error}", file=sys.stderr)
        return 1
    except (NoStackError, BotoCoreError, ClientError) as error:
        print(f"make smoke failed: {error}", file=sys.stderr)
        return 1
    return 0


@dataclass(slots=True, kw_only=True)
class Smoke:
    """One thread of a user of its own, from its beginning to its end."""

    http: httpx.Client
    socket_url: str
    secret: Callable[[], dict[str, str]]
    """Reads what session tokens are signed with."""
    seconds: float
    connect: Connect = CONNECT
    thread: str = field(default_factory=lambda: f"smoke-{uuid4().hex[:12]}")
    token: str = ""

    @classmethod
    def of(cls, stack: DeployedStack, *, seconds: float = ANSWER_SECONDS) -> "Smoke":
        """
        Return that of a stack.

        Raises:
            NoStackError: it is not deployed.
        """
        outputs = stack.outputs()
        return cls(
            http=httpx.Client(base_url=outputs["HttpUrl"], timeout=REQUEST_SECONDS),
            socket_url=outputs["WebSocketUrl"],
            secret=partial(_secret, stack, outputs["SessionSecretArn"]),
            seconds=seconds,
        )

    def run(self, steps: Steps) -> None:
        """
        Do all steps; whatever fails, the thread is deleted in the end, for its sandbox costs as long as it runs.

        Raises:
            StepFailedError: one did not go well; the rest was left out.
        """
        with self.http:
            steps.do("health", self.health)
            steps.do("session", self.session)
            try:
                steps.do("answer", partial(self.answer, steps.say))
                steps.do("history", self.history)
                steps.do("stop", self.stop)
            finally:
                steps.do("delete", self.delete)

    def health(self) -> str:
        """Return the version that answers."""
        told = self._call("GET", "/health")
        if not told.get("ok"):
            raise StepFailedError(f"it answers {told}")
        return f"version {told['version']}"

    def session(self) -> str:
        """Sign a token for the thread, as a web app's backend does."""
        self.token = signed(self.secret(), thread=self.thread, user="smoke", ttl=TOKEN_SECONDS)
        return f"thread {self.thread}"

    def answer(self, say: Callable[[str], None]) -> str:
        """Ask over a socket; says how far the sandbox's start is."""
        with Tab.open(self.socket_url, thread=self.thread, token=self.token, connect=self.connect) as tab:
            request_id = tab.ask(QUESTION)
            text, first = tab.answer(request_id, seconds=self.seconds, starting=lambda told: say(f"        … {told}"))
        return f"first words after {first:.2f} s: {_short(text)}"

    def history(self) -> str:
        """Find the question and its answer stored."""
        messages = self._call("GET", f"/agents/chat/{self.thread}/get-messages")
        roles = [message["role"] for message in messages]
        if roles != ["user", "assistant"]:
            raise StepFailedError(f"the messages are of {roles}")
        return f"{len(messages)} messages"

    def stop(self) -> str:
        """Have the sandbox end, and wait until it has."""
        self._call("DELETE", f"/api/sandbox/{self.thread}")
        end = time.monotonic() + STOP_SECONDS
        while (state := self._call("GET", f"/api/sandbox/{self.thread}")["state"]) not in ENDED:
            if time.monotonic() > end:
                raise StepFailedError(f"the sandbox stays {state}")
            time.sleep(PAUSE)
        return f"the sandbox is {state}"

    def delete(self) -> str:
        """Delete the thread, and find nothing of it any more."""
        removed = self._call("DELETE", f"/api/threads/{self.thread}")["removed"]
        left = self._call("DELETE", f"/api/threads/{self.thread}")["removed"]
        if any(left.values()):
            raise StepFailedError(f"there was still something left: {left}")
        return "removed: " + ", ".join(f"{count} {kind}" for kind, count in removed.items() if count)

    def _call(self, method: str, path: str) -> Any:
        answer = self.http.request(method, path, headers={"Authorization": f"Bearer {self.token}"})
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise StepFailedError(f"{method} {path} answers {answer.status_code}: {_short(answer.text)}")
        return answer.json()


def _secret(stack: DeployedStack, arn: str) -> dict[str, str]:
    secrets = stack.client("secretsmanager", read_seconds=READ_SECONDS)
    secret: dict[str, str] = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
    return secret


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}…"  # noqa: PLR2004 - fits beside the step


if __name__ == "__main__":
    sys.exit(main())
