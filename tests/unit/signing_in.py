"""One thread's sign-in, on real stores and a scripted sandbox: what the tests of oauth_proxy stand on."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import boto3
import httpx
import jwt

from oauth_proxy.app import Admission, create_app
from oauth_proxy.attempts import AttemptService
from oauth_proxy.authorize import AuthorizeService
from oauth_proxy.callbacks import CallbackService
from oauth_proxy.handover import HandOver
from oauth_proxy.openai import Method
from oauth_proxy.signin import Signin
from oauth_proxy.signins import SigninStore
from oauth_proxy.steps import Step, WaitingSteps
from tests.asgi import AsgiClient
from tests.fakes import FakeAudit, FakeConnections, FakeControl, FakeSigninSandbox, FaultyKms, secret
from threadbox.grants import GrantStore
from threadbox.notices import Notices
from threadbox.sessions import SessionVerifier
from threadbox.sockets import Socket, SocketBroadcast, SocketStore
from threadbox.threads import ThreadStore
from threadbox.vault import Opener, Sealer, Tokens

KEY = {"kid": "k", "key": "s" * 64}
THREAD = "t"
USER = "ann"
PATH = f"/api/sandbox/{THREAD}/opencode/provider/openai"


class FakeMachine:
    """The executions that were started, by attempt."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, thread_id: str, attempt_id: str) -> None:
        self.started.append(attempt_id)


@dataclass
class SigningIn:
    """The package as its composition root puts it together, on a clock that stands until it is moved."""

    table: Any
    clock: Any
    control: FakeControl = field(default_factory=FakeControl)
    sandbox: FakeSigninSandbox = field(default_factory=FakeSigninSandbox)
    connections: FakeConnections = field(default_factory=FakeConnections)
    machine: FakeMachine = field(default_factory=FakeMachine)
    pauses: list[float] = field(default_factory=list)
    audit: FakeAudit = field(default_factory=FakeAudit)

    def __post_init__(self) -> None:
        # Tokens are verified by the real clock, and looked at again by this one.
        self.clock.time = time.time()
        self.grants = GrantStore(table=self.table, now=self.clock)
        self.signins = SigninStore(table=self.table, grants=self.grants, per_hour=5, now=self.clock)
        self.sockets = SocketStore(table=self.table)
        self.threads = ThreadStore(table=self.table)
        self.attempts = AttemptService(
            signins=self.signins,
            control=self.control,
            sandbox=self.sandbox.client(),
            notices=Notices(broadcast=SocketBroadcast(store=self.sockets, connections=self.connections)),
            audit=self.audit,
            now=self.clock,
        )
        self.kms = FaultyKms(boto3.client("kms"))
        key_id = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
        self.sealer = Sealer(kms=self.kms, key_id=key_id)
        self.steps = WaitingSteps(
            attempts=self.attempts,
            hand_over=HandOver(attempts=self.attempts, sealer=self.sealer, now=self.clock),
            abandon_seconds=600,
            now=self.clock,
            pause=self.pause,
        )
        clocks = {"now": self.clock, "monotonic": self.clock, "pause": self.pause}
        app = create_app(
            AuthorizeService(attempts=self.attempts, machine=self.machine, longest=900, **clocks),
            CallbackService(attempts=self.attempts, **clocks),
            self.attempts,
            admission=Admission(sessions=SessionVerifier(secret=secret(KEY)), threads=self.threads),
            hop_seconds=25,
            web_app_url="https://app.example/chat?x=1",
        )
        self.http = AsgiClient(app)

    def pause(self, seconds: float) -> None:
        """Take no time, but move the clock."""
        self.pauses.append(seconds)
        self.clock.time += seconds

    def token(self, user: str = USER, *, thread: str = THREAD, life: float = 900, age: float = 0) -> str:
        """Return a session token that is *age* seconds old by the real clock, which the verifier goes by."""
        issued = int(time.time() - age)
        claims = {"aud": "threadbox", "thread_id": thread, "user_id": user, "iat": issued, "exp": int(issued + life)}
        return jwt.encode(claims, KEY["key"], "HS256", headers={"kid": "k"})

    def call(self, method: str, path: str, *, token: str | None = None, **options: Any) -> httpx.Response:
        """Call a route as the thread's owner, or with *token*."""
        headers = {"Authorization": f"Bearer {token or self.token()}", **options.pop("headers", {})}
        return self.http.request(method, f"{PATH}{path}", headers=headers, **options)

    def authorize(self, method: int = 1, *, prefer: str = "", **body: Any) -> httpx.Response:
        """Begin a sign-in."""
        headers = {"Prefer": prefer} if prefer else {}
        return self.call("POST", "/oauth/authorize", json={"method": method, **body}, headers=headers)

    def callback(self, query: str = "", *, prefer: str = "", token: str | None = None, **body: Any) -> httpx.Response:
        """Wait for a sign-in."""
        headers = {"Prefer": prefer} if prefer else {}
        body = {"method": 1, **body}
        return self.call("POST", f"/oauth/callback{query}", json=body, headers=headers, token=token)

    def step(self, name: str, attempt_id: str | None = None, *, seconds: float = 50) -> str:
        """Perform a step of the machine for the live attempt, or for *attempt_id*."""
        attempt_id = attempt_id or self.row().attempt_id
        return self.steps.perform(Step(step=name, thread_id=THREAD, attempt_id=attempt_id), seconds=seconds)

    def row(self) -> Signin:
        """Return the row."""
        signin = self.signins.find(THREAD)
        assert signin is not None
        return signin

    def wanted(self, attempt_id: str, *, method: Method = Method.DEVICE, **more: Any) -> Signin:
        """Return an attempt that begins now."""
        now = int(self.clock())
        given = {"thread_id": THREAD, "user_id": USER, "replace": False, "generation": 1, **more}
        return Signin(
            attempt_id=attempt_id, method=method, created_at=now, watched_at=now, expires_at=now + 900, **given
        )

    def approves(self, account: str = "acct-1") -> None:
        """Connect the live attempt as the machine does."""
        self.sandbox.status, self.sandbox.account_id = "approved", account
        self.step("wait")

    def unsettles(self) -> None:
        """Have the sandbox not yet been told that what it got was stored."""
        self.table.update_item(Key={"thread_id": THREAD, "sk": "SIGNIN"}, UpdateExpression="REMOVE settled")

    def opened(self) -> Tokens:
        """Return the tokens in the vault."""
        grant = self.grants.find(THREAD)
        assert grant is not None
        opener = Opener(kms=self.kms, unreadable=lambda: None)
        return opener.open(grant.sealed, grant.binding(USER))

    def opens_socket(self, name: str = "c1") -> None:
        """Open a tab."""
        self.sockets.create(Socket(thread_id=THREAD, connection_id=name, user_id=USER))

    def told(self, kind: str = "data-codex") -> list[str]:
        """Return what the tab was told, in order: the statuses of a sign-in, or the details of a sandbox's start."""
        chunks = [json.loads(frame["body"]) for frame in self.connections.to("c1")]
        name = "status" if kind == "data-codex" else "detail"
        return [chunk["data"][name] for chunk in chunks if chunk["type"] == kind]
