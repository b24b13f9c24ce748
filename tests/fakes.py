"""Test doubles for what stands outside the functions: ECS, sandboxd, Lambda, API Gateway, Secrets Manager."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count
from typing import Any, Literal
from urllib.parse import parse_qs

import httpx
import jwt
from aws_lambda_powertools.utilities.feature_flags import AppConfigStore
from botocore.exceptions import ClientError
from pydantic import SecretStr

from chat.turn import Ask, Turn, part_id
from chat.turns import TurnStore
from oauth_proxy.sandbox import SigninClient
from sandbox_ctl.daemon import DaemonStatus, KeptVersion, Memory, Upload
from sandbox_ctl.launcher import Task
from sandbox_ctl.loans import Loan
from sandbox_ctl.models import KnownProviders, ModelAccess
from sandbox_ctl.openai import OpenAIClient
from sandbox_ctl.sandboxes import Sandbox
from threadbox.control import Access, Starting
from threadbox.errors import OpenCodeError, SandboxUnavailableError, StaleGenerationError
from threadbox.policies import Policy, ToolPolicy
from threadbox.secrets import JsonSecret


class FakeSecrets:
    """Secrets Manager with the two stages of one secret."""

    class exceptions:  # noqa: N801 - boto3's name
        class ResourceNotFoundException(Exception):  # noqa: N818 - boto3's name
            pass

    def __init__(self, current: dict[str, str], previous: dict[str, str] | None = None) -> None:
        self.stages = {"AWSCURRENT": current, "AWSPREVIOUS": previous}
        self.reads = 0

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, str]:  # noqa: N803 - boto3's names
        self.reads += 1
        value = self.stages[VersionStage]
        if value is None:
            raise self.exceptions.ResourceNotFoundException
        return {"SecretString": json.dumps(value)}


def secret(current: dict[str, str], previous: dict[str, str] | None = None) -> JsonSecret:
    """Return a secret that is kept nowhere."""
    return JsonSecret(client=FakeSecrets(current, previous), arn="arn:secret")  # type: ignore[arg-type]


def session(key: dict[str, str], *, thread: str = "t", user: str = "u") -> str:
    """Return a session token for a minute from now, signed with that key of a secret."""
    now = int(time.time())
    claims = {"aud": "threadbox", "thread_id": thread, "user_id": user, "iat": now, "exp": now + 60}
    return jwt.encode(claims, key["key"], "HS256", headers={"kid": key["kid"]})


@dataclass
class FakeAppConfig:
    """AppConfig's data as boto3 gives it: a token is good for one call, and what a session has is not sent again."""

    flags: dict[str, Any] | str = field(
        default_factory=lambda: {"sandboxes": {"default": True}, "sandboxes_stopped": {"default": False}}
    )
    down: bool = False
    denied_after: int | None = None
    reads: int = 0
    sessions: dict[str, str | None] = field(default_factory=dict)
    _tokens: Iterator[int] = field(default_factory=count)

    def start_configuration_session(self, **_: str) -> dict[str, Any]:
        return {"InitialConfigurationToken": self._token(None)}

    def get_latest_configuration(self, *, ConfigurationToken: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self.reads += 1
        if self.denied_after is not None and self.reads > self.denied_after:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetLatestConfiguration")
        if self.down or ConfigurationToken not in self.sessions:
            raise ClientError({"Error": {"Code": "BadRequestException"}}, "GetLatestConfiguration")
        content = self.flags if isinstance(self.flags, str) else json.dumps(self.flags)
        had = self.sessions.pop(ConfigurationToken)
        body = BytesIO(b"" if had == content else content.encode())
        return {"Configuration": body, "NextPollConfigurationToken": self._token(content)}

    def store(self, *, max_age: int = 0) -> AppConfigStore:
        """Return a store in a session of its own."""
        client: Any = self
        return AppConfigStore(environment="e", application="a", name="flags", max_age=max_age, boto3_client=client)

    def _token(self, content: str | None) -> str:
        token = f"token-{next(self._tokens)}"
        self.sessions[token] = content
        return token


@dataclass
class FakeLauncher:
    """ECS as a launcher sees it: tasks by client token, started only when a test says so."""

    tasks: dict[str, Task] = field(default_factory=dict)
    by_token: dict[tuple[str, int], str] = field(default_factory=dict)
    refusals: int = 0
    crash_after_launch: bool = False
    stopped: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def launch(self, sandbox: Sandbox) -> str:
        with self._lock:
            if self.refusals:
                self.refusals -= 1
                raise SandboxUnavailableError("There is no room.")
            token = (sandbox.thread_id, sandbox.generation)
            arn = self.by_token.setdefault(token, f"arn:task/{len(self.by_token) + 1}")
            self.tasks.setdefault(arn, Task(arn=arn, running=False, stopped=False))
            if self.crash_after_launch:
                self.crash_after_launch = False
                raise KeyboardInterrupt
            return arn

    def describe(self, task_arn: str) -> Task:
        return self.tasks[task_arn]

    def stop(self, task_arn: str, *, reason: str) -> None:
        self.stopped.append(task_arn)

    def alive(self, thread_id: str | None = None) -> list[Task]:
        arns = {arn: thread for (thread, _), arn in self.by_token.items()}
        return [
            task
            for arn, task in self.tasks.items()
            if not task.stopped and thread_id in {None, arns.get(arn)} and arn not in self.stopped
        ]

    def runs(self, task_arn: str, address: str = "127.0.0.1") -> None:
        """Let the task run."""
        self.tasks[task_arn] = Task(arn=task_arn, running=True, stopped=False, address=address)

    def ends(self, task_arn: str, reason: str = "it ended") -> None:
        """Let the task end."""
        self.tasks[task_arn] = Task(arn=task_arn, running=False, stopped=True, reason=reason)


@dataclass
class FakeDaemon:
    """Sandboxd as the control plane sees it."""

    silent: bool = False
    ready: bool = True
    stranger: bool = False
    restoring: bool = False
    ending: bool = False
    known: KnownProviders = field(default_factory=lambda: KnownProviders(providers=[], default={}))
    removed: list[str] = field(default_factory=list)
    bound: list[tuple[str, int, ModelAccess]] = field(default_factory=list)
    lent: list[Loan] = field(default_factory=list)
    held: int | None = None
    policy: Policy = field(default_factory=Policy)
    policies: list[ToolPolicy] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None
    memory: Memory | None = None
    uploads: list[Upload] = field(default_factory=list)
    discarded: bool = False

    def hello(self, sandbox: Sandbox) -> DaemonStatus:
        if self.silent or self.stranger:
            raise OpenCodeError("no answer")
        return self._status(sandbox, "stopping" if self.ending else "unbound")

    def bind(
        self, sandbox: Sandbox, models: ModelAccess, loan: Loan | None, policy: Policy, memory: Memory
    ) -> DaemonStatus:
        self.memory = memory
        self.bound.append((sandbox.thread_id, sandbox.generation, models))
        self.policy = policy
        self.held = None
        self._take(loan)
        return self._status(sandbox, "restoring" if self.restoring else "booting")

    def status(self, sandbox: Sandbox, *, wait: int) -> DaemonStatus:
        if self.silent:
            raise OpenCodeError("no answer")
        return self._status(sandbox, "restoring" if self.restoring else "ready" if self.ready else "booting")

    def providers(self, sandbox: Sandbox, *, wait: int) -> KnownProviders:
        if self.silent:
            raise OpenCodeError("no answer")
        return self.known

    def put_policy(self, sandbox: Sandbox, policy: Policy) -> Policy:
        if self.silent:
            raise OpenCodeError("no answer")
        self.policies.append(policy.policy)
        if policy.version > self.policy.version:
            self.policy = policy
        return self.policy

    def put_memory(self, sandbox: Sandbox, upload: Upload) -> None:
        if self.silent:
            raise OpenCodeError("no answer")
        self.uploads.append(upload)

    def discard_memory(self, sandbox: Sandbox) -> None:
        if self.silent:
            raise OpenCodeError("no answer")
        self.discarded = True

    def put_provider(self, sandbox: Sandbox, provider: str, loan: Loan) -> None:
        if self.silent:
            raise OpenCodeError("no answer")
        self._take(loan)

    def remove_provider(self, sandbox: Sandbox, provider: str, *, version: int | None) -> bool:
        if self.silent:
            raise OpenCodeError("no answer")
        had, self.held = self.held, None
        self.removed.append(provider)
        self.meanwhile()
        return had is not None

    def _take(self, loan: Loan | None) -> None:
        if loan is not None:
            self.held = loan.version
            self.lent.append(loan)

    def _status(self, sandbox: Sandbox, state: Any) -> DaemonStatus:
        return DaemonStatus(
            task_arn=sandbox.task_arn or "",
            state=state,
            thread_id=sandbox.thread_id,
            generation=sandbox.generation,
            session_id="ses_1",
            opencode_version="1.18.33",
            codex_version=self.held,
            policy_version=self.policy.version,
        )


@dataclass
class FakeMemories:
    """What is kept of sandboxes, where that is nothing."""

    kept: list[KeptVersion] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    forgotten: list[tuple[str, Sandbox | None]] = field(default_factory=list)

    def of(self, sandbox: Sandbox) -> Memory:
        upload = Upload(url=SecretStr("http://s3/"), fields={}, prefix="snapshots/")
        return Memory(upload=upload, kept=self.kept)

    def renew(self, sandbox: Sandbox) -> None:
        self.renewed.append(sandbox.thread_id)

    def forget(self, thread_id: str, sandbox: Sandbox | None) -> int:
        self.forgotten.append((thread_id, sandbox))
        return 0


@dataclass
class FakeProvider:
    """
    The provider's authorization server, for httpx's MockTransport: refresh tokens are good for one use.

    ``mode`` is how it fails: ``lost`` redeems and does not answer. ``refusal`` is what it refuses every token with.
    """

    life: int = 3600
    mode: Literal["ok", "429", "500", "garbage", "down", "lost"] = "ok"
    refusal: str | None = None
    good: list[str] = field(default_factory=list)
    redeemed: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def issue(self) -> str:
        self.good.append(f"rt_{len(self.good)}")
        return self.good[-1]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/revoke":
            self.revoked.append(json.loads(request.content)["token"])
            return httpx.Response(200)
        if self.mode == "down":
            raise httpx.ConnectError("nobody", request=request)
        if self.mode in ("429", "500"):
            return httpx.Response(int(self.mode), json={"error": {"code": "server_error"}})
        if self.mode == "garbage":
            return httpx.Response(200, text="<!doctype html>")
        token = parse_qs(request.content.decode())["refresh_token"][0]
        if self.refusal is not None or token in self.redeemed or token not in self.good:
            code = self.refusal or ("refresh_token_reused" if token in self.redeemed else "invalid_grant")
            return httpx.Response(401, json={"error": {"code": code, "message": "no"}})
        self.redeemed.append(token)
        fresh = {"access_token": f"at_{len(self.redeemed)}", "refresh_token": self.issue(), "expires_in": self.life}
        self.meanwhile()
        if self.mode == "lost":
            raise httpx.ReadTimeout("nothing came", request=request)
        return httpx.Response(200, json=fresh)

    def client(self) -> OpenAIClient:
        """Return the client whose calls come here."""
        return OpenAIClient(http=httpx.Client(transport=httpx.MockTransport(self)), issuer="https://auth.example")


class FaultyKms:
    """KMS, as it answers a real client; its calls are counted, and fail on demand."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: list[str] = []
        self.failure: Exception | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def generate_data_key(self, **request: Any) -> Any:
        return self._call("GenerateDataKey", self._client.generate_data_key, request)

    def decrypt(self, **request: Any) -> Any:
        return self._call("Decrypt", self._client.decrypt, request)

    def _call(self, name: str, call: Callable[..., Any], request: dict[str, Any]) -> Any:
        self.calls.append(name)
        self.meanwhile()
        if self.failure is not None:
            raise self.failure
        return call(**request)


@dataclass
class FakeConnections:
    """``@connections``: what was posted to whom; gone and full connections on demand."""

    posted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    closed: list[str] = field(default_factory=list)

    def close(self, connection_id: str) -> bool:
        self.closed.append(connection_id)
        return connection_id not in self.gone

    def post(self, connection_id: str, frame: str) -> bool:
        if connection_id in self.gone:
            return False
        self.posted.append((connection_id, json.loads(frame)))
        return True

    def to(self, connection_id: str) -> list[dict[str, Any]]:
        """Return what one connection got."""
        return [frame for other, frame in self.posted if other == connection_id]


@dataclass
class FakeDispatcher:
    """The asynchronous invokes that were made."""

    dispatched: list[tuple[str, str]] = field(default_factory=list)
    invocations: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)

    def dispatch(self, thread_id: str, request_id: str, invocation: str) -> None:
        self.dispatched.append((thread_id, request_id))
        self.invocations.append(invocation)

    def dispatch_return(self, _turn: Turn, connection_id: str) -> None:
        self.returned.append(connection_id)


def begin(turns: TurnStore, thread_id: str, request_id: str) -> Turn | None:
    """Begin a turn as the invocation does that it waits for."""
    waiting = turns.find(thread_id)
    return turns.start(thread_id, request_id, invocation=waiting.invocation if waiting is not None else "")


@dataclass
class FakeAgent:
    """The agent of a turn, as seen from outside the function that reads from it."""

    aborted: list[str] = field(default_factory=list)
    answered: list[tuple[str, Any]] = field(default_factory=list)

    def abort(self, turn: Turn) -> None:
        self.aborted.append(turn.request_id)

    def partial(self, turn: Turn) -> list[dict[str, Any]]:
        return [{"type": "text", "text": "so far", "state": "done"}]

    def answer(self, turn: Turn, ask: Ask, answer: Any) -> None:
        self.answered.append((ask.id, answer))


@dataclass
class FakeSession:
    """A session of OpenCode's, as whoever makes it forget sees it: questions by request id, each with its answer."""

    requests: list[str] = field(default_factory=list)
    busy: int = 0
    gone: bool = False
    aborts: int = 0
    deleted: list[str] = field(default_factory=list)
    begun: int = 0

    async def messages(self, access: Access) -> list[dict[str, Any]]:
        if self.gone:
            raise OpenCodeError("no such session", status=404)
        return [
            {"info": {"id": f"{role}-{request}", "role": role}, "parts": [{"id": part, "type": "text"}]}
            for request in self.requests
            for role, part in (("user", part_id(request)), ("assistant", f"prt_20c504c08001{request}"))
        ]

    async def delete_message(self, access: Access, message_id: str) -> None:
        if self.busy:
            self.busy -= 1
            raise OpenCodeError("busy", status=409)
        self.deleted.append(message_id)

    async def abort(self, access: Access, *, part_id: str | None = None) -> None:
        self.aborts += 1

    async def begin_anew(self, access: Access) -> str:
        self.begun += 1
        return f"ses_new_{self.begun}"


@dataclass
class FakeControl:
    """sandbox_ctl as oauth_proxy sees it: a sandbox that runs, or that starts for as long as a test says."""

    generation: int = 1
    starting: list[Starting] = field(default_factory=list)
    gone: bool = False
    suspects: list[int] = field(default_factory=list)
    disconnected: list[str] = field(default_factory=list)
    access: dict[str, Any] = field(default_factory=dict)

    def ensure(
        self,
        thread_id: str,
        *,
        scope: str,
        waiting_for: int | None = None,
        suspect: int | None = None,
        refused: int | None = None,
    ) -> Access | Starting:
        if suspect is not None:
            self.suspects.append(suspect)
        return self.starting.pop(0) if self.starting else self._access()

    def lend(self, thread_id: str, *, scope: str, generation: int) -> Access:
        if self.gone or generation != self.generation:
            raise StaleGenerationError("That sandbox is gone.")
        return self._access()

    def disconnect(self, thread_id: str) -> bool:
        self.disconnected.append(thread_id)
        return True

    def _access(self) -> Access:
        url = "http://sandbox:4096"
        access = Access(url=url, token="use", expires_in=900, generation=self.generation, session_id="ses_1")
        return access.model_copy(update=self.access)


@dataclass
class FakeSigninSandbox:
    """
    The sign-in routes of sandboxd, for httpx's MockTransport.

    ``status`` is what becomes of the attempt once it is waited for; ``refusal`` answers the next start; ``breaks`` is
    how many calls are broken off before one is answered.
    """

    url: str = "https://auth.example/codex/device"
    instructions: str = "Enter code: ABCD-0001"
    status: str = "pending"
    account_id: str | None = "acct-1"
    refusal: tuple[int, dict[str, Any]] | None = None
    breaks: int = 0
    calls: list[tuple[str, str]] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/sandboxd/signin").strip("/")
        call = (request.method, path.partition("/")[2] if path else "start")
        self.calls.append(call)
        if self.breaks:
            self.breaks -= 1
            raise httpx.ReadError("broken", request=request)
        self.meanwhile()
        if call == ("POST", "start"):
            if self.refusal is not None:
                return httpx.Response(self.refusal[0], json=self.refusal[1])
            body = json.loads(request.content)
            return httpx.Response(200, json={**body, "url": self.url, "instructions": self.instructions})
        progress = {"type": "signin", "status": self.status, "account_id": self.account_id, "expires_at": 2_000_000_000}
        if call[1] == "tokens":
            tokens = {"access_token": "at_approved", "refresh_token": "rt_approved", "expires_at": 2_000_000_000}
            return httpx.Response(200, json={**tokens, "account_id": self.account_id})
        if request.method == "GET":
            lines = [{"type": "heartbeat"}, progress]
            return httpx.Response(200, text="".join(json.dumps(line) + "\n" for line in lines))
        return httpx.Response(200, json=progress)

    def count(self, *call: str) -> int:
        """Return how often it was called so: ``"POST", "accept"``."""
        return self.calls.count((call[0], call[1]))

    def client(self) -> SigninClient:
        """Return the client whose calls come here."""
        return SigninClient(http=httpx.Client(transport=httpx.MockTransport(self)))
