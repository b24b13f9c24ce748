"""sandbox_ctl as its composition root puts it together, on real stores; what stands outside of it is scripted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox_ctl.callkeys import CallSigner
from sandbox_ctl.codex import CodexService
from sandbox_ctl.loans import Lender
from sandbox_ctl.models import ModelAccess
from sandbox_ctl.openai import OpenAIClient
from sandbox_ctl.operations import perform
from sandbox_ctl.policies import PolicyService
from sandbox_ctl.refresher import Refresher
from sandbox_ctl.resealing import ResealService
from sandbox_ctl.rollout import Rollout
from sandbox_ctl.sandboxes import SandboxStore
from sandbox_ctl.service import SandboxService
from sandbox_ctl.sizes import Sizes
from sandbox_ctl.starts import Starter
from tests.fakes import FakeAppConfig, FakeConnections, FakeDaemon, FakeLauncher, FakeMemories, FakeProvider, secret
from threadbox.clock import unix_time
from threadbox.control import Reply
from threadbox.grants import Grant, GrantStore
from threadbox.notices import Notices
from threadbox.policies import PolicyStore
from threadbox.sockets import SocketBroadcast, SocketStore
from threadbox.threads import ThreadStore
from threadbox.vault import Opener, Sealer, Tokens

OWNER = "ann"
ACCOUNT = "acct-1"


@dataclass
class Controlling:
    """
    The package.

    *kms* and *key_id* are a KMS client and a key of it; without them there is no vault, and no thread may be connected.
    On a clock that does not stand, *pause* is needed.
    """

    table: Any
    now: Callable[[], float] = unix_time
    launcher: Any = field(default_factory=FakeLauncher)
    daemon: Any = field(default_factory=FakeDaemon)
    provider: FakeProvider = field(default_factory=FakeProvider)
    client: OpenAIClient | None = None
    kms: Any = None
    key_id: str = ""
    models: Callable[[], ModelAccess] = ModelAccess
    page: int = 100
    per_user: int = 3
    appconfig: FakeAppConfig = field(default_factory=FakeAppConfig)
    connections: FakeConnections = field(default_factory=FakeConnections)
    unreadable: list[None] = field(default_factory=list)
    memories: Any = field(default_factory=FakeMemories)
    pauses: list[float] = field(default_factory=list)
    pause: Callable[[float], None] | None = None

    def __post_init__(self) -> None:
        self.store = SandboxStore(table=self.table, per_user=self.per_user, now=self.now)
        self.grants = GrantStore(table=self.table, now=self.now)
        self.threads = ThreadStore(table=self.table)
        self.policies = PolicyStore(table=self.table)
        self.sealer = Sealer(kms=self.kms, key_id=self.key_id)
        opener = Opener(kms=self.kms, unreadable=lambda: self.unreadable.append(None))
        self.lender = Lender(threads=self.threads, opener=opener, clock=self.now)
        self.openai = self.client or self.provider.client()
        self.sockets = SocketStore(table=self.table)
        self.refresher = Refresher(
            grants=self.grants,
            lender=self.lender,
            sealer=self.sealer,
            provider=self.openai,
            notices=Notices(broadcast=SocketBroadcast(store=self.sockets, connections=self.connections)),
            now=self.now,
            pause=self.pause or self._pause,
        )
        self.codex = CodexService(
            grants=self.grants,
            lender=self.lender,
            refresher=self.refresher,
            daemon=self.daemon,
            provider=self.openai,
            now=self.now,
        )
        self.resealing = ResealService(grants=self.grants, lender=self.lender, sealer=self.sealer, page=self.page)
        self.starter = Starter(
            store=self.store,
            launcher=self.launcher,
            daemon=self.daemon,
            codex=self.codex,
            policies=self.policies,
            memories=self.memories,
            models=self.models,
            now=self.now,
        )
        self.service = SandboxService(
            store=self.store,
            threads=self.threads,
            rollout=Rollout(threads=self.threads, stores=self.appconfig.store),
            codex=self.codex,
            policies=PolicyService(store=self.store, daemon=self.daemon),
            memories=self.memories,
            starter=self.starter,
            signer=CallSigner(secret=secret({"key": "k" * 64}), now=self.now),
            task_definitions={"X86_64": "sandbox:1", "ARM64": "sandbox-arm:1"},
            sizes=Sizes.parse("small=512/1024, medium=1024/2048, arm=512/1024/ARM64", default="medium"),
            life_seconds=43_200,
        )

    def _pause(self, seconds: float) -> None:
        """Take no time; move the clock, which stands until it is moved."""
        self.pauses.append(seconds)
        self.now.time += seconds

    def runs(self, thread_id: str = "t") -> int:
        """Have the thread's sandbox run, and return its generation."""
        self.service.ensure(thread_id, scope="signin")
        sandbox = self.service.get(thread_id)
        self.launcher.runs(sandbox.task_arn)
        self.service.ensure(thread_id, scope="signin")
        return sandbox.generation

    def ends(self, thread_id: str = "t") -> None:
        """Have the thread's sandbox end."""
        arn = self.service.get(thread_id).task_arn
        self.launcher.ends(arn)
        self.service.task_changed(thread_id, arn)

    def connects(
        self, thread_id: str = "t", *, life: int = 3600, owner: str = OWNER, refresh_token: str | None = None
    ) -> Grant:
        """Store a grant as a sign-in does; without *refresh_token* the scripted provider gives one."""
        self.threads.claim(thread_id, user_id=owner)
        now = int(self.now())
        before = self.grants.find(thread_id)
        grant = Grant(
            thread_id=thread_id,
            account_id=ACCOUNT,
            expires_at=now + life,
            obtained_at=now,
            version=self.grants.next_version(before),
        )
        tokens = Tokens(access_token="at_first", refresh_token=refresh_token or self.provider.issue())
        sealed = self.sealer.seal(tokens, grant.binding(owner))
        write = self.grants.connection(grant, sealed, before=before)
        self.table.meta.client.transact_write_items(TransactItems=[write])
        return self.grant(thread_id)

    def perform(self, operation: str, **event: Any) -> Reply:
        """Perform an operation as another function has it performed."""
        asked = {"operation": operation, **event}
        return Reply.model_validate(perform(self.service, self.resealing, asked))

    def grant(self, thread_id: str = "t") -> Grant:
        """Return the stored grant."""
        grant = self.grants.find(thread_id)
        assert grant is not None
        return grant

    def tokens(self, thread_id: str = "t") -> tuple[str, str]:
        """Return access and refresh token, as the vault has them."""
        tokens, _ = self.lender.open(self.grant(thread_id))
        return tokens.access_token.get_secret_value(), tokens.refresh_token.get_secret_value()
