"""
Composition root of the oauth_proxy functions: the only module that reads the environment and builds clients.

Two functions run this package. The one that performs the steps waits for most of its time and has little memory: it
starts without the HTTP side.
"""

from functools import cache
from typing import Any

import boto3
import httpx
from botocore.config import Config
from mangum.types import LambdaContext

from oauth_proxy.attempts import AttemptService
from oauth_proxy.authorize import AuthorizeService
from oauth_proxy.callbacks import CallbackService
from oauth_proxy.handover import HandOver
from oauth_proxy.machine import SigninMachine
from oauth_proxy.sandbox import SigninClient
from oauth_proxy.settings import Settings
from oauth_proxy.signins import SigninStore
from oauth_proxy.steps import Step, WaitingSteps
from threadbox.connections import ConnectionsClient
from threadbox.control import SandboxControlClient
from threadbox.grants import GrantStore
from threadbox.notices import Notices
from threadbox.secrets import JsonSecret
from threadbox.sessions import SessionVerifier
from threadbox.sockets import SocketBroadcast, SocketStore
from threadbox.telemetry import logger
from threadbox.threads import ThreadStore
from threadbox.tls import trusting_nobody
from threadbox.vault import Sealer

# What a waiting step leaves of its function's time to end an attempt: a call off, and posts to sockets.
FAREWELL = 25

settings = Settings()
table = boto3.resource("dynamodb").Table(settings.table_name)
attempts = AttemptService(
    signins=SigninStore(table=table, grants=GrantStore(table=table), per_hour=settings.signins_per_hour),
    # Whoever calls comes again by himself; a call repeated in here would stand behind the one that is late.
    control=SandboxControlClient(
        client=boto3.client(
            "lambda", config=Config(connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 1})
        ),
        function=settings.sandbox_ctl_function,
    ),
    sandbox=SigninClient(http=httpx.Client(verify=trusting_nobody(), trust_env=False)),
    notices=Notices(
        broadcast=SocketBroadcast(
            store=SocketStore(table=table),
            connections=ConnectionsClient.of(settings.connections_url),
        )
    ),
)
steps = WaitingSteps(
    attempts=attempts,
    hand_over=HandOver(
        attempts=attempts,
        sealer=Sealer(
            kms=boto3.client("kms", config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard"})),
            key_id=settings.vault_key_arn,
        ),
    ),
    abandon_seconds=settings.codex_abandon_seconds,
)


@cache
def _app() -> Any:
    from mangum import Mangum  # noqa: PLC0415 - see above

    from oauth_proxy.app import Admission, create_app  # noqa: PLC0415 - see above

    return Mangum(
        create_app(
            AuthorizeService(
                attempts=attempts,
                machine=SigninMachine(client=boto3.client("stepfunctions"), machine=settings.signin_machine_arn),
                longest=settings.codex_callback_timeout_seconds,
            ),
            CallbackService(attempts=attempts),
            attempts,
            admission=Admission(
                sessions=SessionVerifier(
                    secret=JsonSecret(client=boto3.client("secretsmanager"), arn=settings.session_secret_arn)
                ),
                threads=ThreadStore(table=table),
            ),
            hop_seconds=settings.hop_seconds,
            web_app_url=settings.web_app_url,
        ),
        lifespan="off",
    )


@logger.inject_lambda_context(clear_state=True)
def http(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a request of the HTTP API."""
    answer: dict[str, Any] = _app()(event, context)
    return answer


@logger.inject_lambda_context(clear_state=True)
def step(event: dict[str, Any], context: LambdaContext) -> dict[str, str]:
    """Perform a step of the state machine."""
    seconds = context.get_remaining_time_in_millis() / 1000 - FAREWELL
    return {"status": steps.perform(Step.model_validate(event), seconds=seconds)}
