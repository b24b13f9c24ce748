"""
Composition root of sandbox_ctl: the only module that reads the environment and builds clients.

Turns wait for its first answer, and invoke it directly: the HTTP side is made when somebody asks over HTTP.
"""

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from aws_lambda_powertools.utilities.feature_flags import AppConfigStore
from botocore.config import Config
from mangum.types import LambdaContext

from sandbox_ctl.callkeys import CallSigner
from sandbox_ctl.checkouts import CheckoutService
from sandbox_ctl.codex import CodexService
from sandbox_ctl.commands import CommandService
from sandbox_ctl.daemon import DaemonClient
from sandbox_ctl.events import TaskChanged
from sandbox_ctl.files import FileService
from sandbox_ctl.launcher import FargateLauncher
from sandbox_ctl.loans import Lender
from sandbox_ctl.memories import S3_CONFIG, MemoryService
from sandbox_ctl.models import Model, ModelAccess, usable_keys
from sandbox_ctl.offers import OfferService
from sandbox_ctl.openai import OpenAIClient
from sandbox_ctl.operations import perform
from sandbox_ctl.policies import PolicyService
from sandbox_ctl.rates import RateStore
from sandbox_ctl.refresher import Refresher
from sandbox_ctl.resealing import ResealService
from sandbox_ctl.rollout import FLAGS_SECONDS, Rollout
from sandbox_ctl.sandboxes import SandboxStore
from sandbox_ctl.service import SandboxService
from sandbox_ctl.settings import Settings
from sandbox_ctl.sizes import Sizes
from sandbox_ctl.starts import Starter
from sandbox_ctl.sweeper import SCHEDULED, Sweeper
from sandbox_ctl.transfers import TransferService
from sandbox_ctl.workspace_routes import WorkspaceServices
from sandbox_ctl.workspaces import WorkspaceClient
from threadbox.connections import ConnectionsClient
from threadbox.grants import GrantStore
from threadbox.notices import Notices
from threadbox.policies import PolicyStore
from threadbox.secrets import JsonSecret
from threadbox.sessions import SessionVerifier
from threadbox.sockets import SocketBroadcast, SocketStore
from threadbox.telemetry import count, logger
from threadbox.threads import ThreadStore
from threadbox.tls import trusting_nobody
from threadbox.vault import Opener, Sealer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

settings = Settings()
table = boto3.resource("dynamodb").Table(settings.table_name)
secretsmanager = boto3.client("secretsmanager")
threads = ThreadStore(table=table)
store = SandboxStore(table=table, per_user=settings.sandboxes_per_user)
grants = GrantStore(table=table)
signer = CallSigner(secret=JsonSecret(client=secretsmanager, arn=settings.call_secret_arn))
model_keys = JsonSecret(client=secretsmanager, arn=settings.model_keys_secret_arn)
model_urls = {"anthropic": settings.anthropic_api_url, "openai-api": settings.openai_api_url}


def models() -> ModelAccess:
    """Return what a new sandbox gets: the configured model, and the keys as the secret has them now."""
    configured = settings.model_base_url and settings.model_name
    return ModelAccess(
        model=Model(base_url=settings.model_base_url, name=settings.model_name) if configured else None,
        keys=usable_keys(model_keys.current()) if settings.model_keys_secret_arn else {},
        base_urls={provider: url for provider, url in model_urls.items() if url},
    )


appconfig = boto3.client(
    "appconfigdata", config=Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
)


def flags() -> AppConfigStore:
    """Return the feature flags as AppConfig has them, in a session of their own."""
    return AppConfigStore(
        application=settings.flags_application,
        environment=settings.flags_environment,
        name=settings.flags_profile,
        max_age=FLAGS_SECONDS,
        boto3_client=appconfig,
    )


launcher = FargateLauncher(
    ecs=boto3.client("ecs", config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})),
    cluster=settings.cluster,
    subnets=settings.subnets,
    security_group=settings.sandbox_security_group,
)
kms = boto3.client("kms", config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard"}))
sealer = Sealer(kms=kms, key_id=settings.vault_key_arn)
lender = Lender(threads=threads, opener=Opener(kms=kms, unreadable=partial(count, "VaultUnreadable")))
tls = trusting_nobody()
daemon = DaemonClient(http=httpx.Client(verify=tls), signer=signer)
provider = OpenAIClient(http=httpx.Client(), issuer=settings.codex_issuer_url)
connections = ConnectionsClient.of(settings.connections_url)
codex = CodexService(
    grants=grants,
    lender=lender,
    refresher=Refresher(
        grants=grants,
        lender=lender,
        sealer=sealer,
        provider=provider,
        notices=Notices(broadcast=SocketBroadcast(store=SocketStore(table=table), connections=connections)),
    ),
    daemon=daemon,
    provider=provider,
)
resealing = ResealService(grants=grants, lender=lender, sealer=sealer)


@cache
def s3() -> "S3Client":
    """Return the client for what goes into and out of sandboxes."""
    return boto3.client("s3", config=S3_CONFIG)


policies = PolicyStore(table=table)
memories = MemoryService(client=s3, bucket=settings.sandbox_bucket_name, store=store, daemon=daemon)
service = SandboxService(
    store=store,
    threads=threads,
    rollout=Rollout(threads=threads, stores=flags),
    codex=codex,
    policies=PolicyService(store=store, daemon=daemon),
    memories=memories,
    starter=Starter(
        store=store,
        launcher=launcher,
        daemon=daemon,
        codex=codex,
        policies=policies,
        memories=memories,
        models=models,
    ),
    signer=signer,
    task_definitions=settings.task_definitions,
    sizes=Sizes.parse(settings.sandbox_sizes, default=settings.sandbox_size),
    life_seconds=settings.sandbox_life_seconds,
)
sweeper = Sweeper(
    service=service,
    launcher=launcher,
    threads=threads,
    # What each sandbox that runs is to have every few minutes.
    visits=(memories.renew,),
)
# A connection that was kept may end just as a command is sent, of which nobody could say then whether it ran.
unkept = httpx.Client(verify=tls, limits=httpx.Limits(max_keepalive_connections=0))
workspaces = WorkspaceClient(sandboxes=service, http=unkept, signer=signer)
execs = RateStore(table=table, what="exec", per_minute=settings.execs_per_minute)
workspace = WorkspaceServices(
    commands=CommandService(workspaces=workspaces, rate=execs),
    files=FileService(workspaces=workspaces),
    transfers=TransferService(
        workspaces=workspaces,
        s3=s3,
        bucket=settings.sandbox_bucket_name,
    ),
    checkouts=CheckoutService(workspaces=workspaces, rate=execs),
)


@cache
def _app() -> Any:
    from mangum import Mangum  # noqa: PLC0415 - see above

    from sandbox_ctl.app import create_app  # noqa: PLC0415 - see above

    return Mangum(
        create_app(
            service,
            OfferService(sandboxes=service, daemon=daemon),
            workspace,
            sessions=SessionVerifier(secret=JsonSecret(client=secretsmanager, arn=settings.session_secret_arn)),
            threads=threads,
        ),
        lifespan="off",
    )


@logger.inject_lambda_context(clear_state=True)
def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any] | None:
    """Answer an operation of another function, a request of the HTTP API, an event of ECS, or the schedule."""
    if "operation" in event:
        return perform(service, resealing, event)
    if "requestContext" in event:
        answer: dict[str, Any] = _app()(event, context)
        return answer
    if event.get("detail-type") == SCHEDULED:
        sweeper.sweep()
        return None
    changed = TaskChanged.model_validate(event)
    if (thread_id := threads.of_hash(changed.detail.started_by)) is not None:
        service.task_changed(thread_id, changed.detail.task_arn)
    return None
