"""
Composition root of the chat functions: the only module that reads the environment and builds clients.

Four functions run this package, and one of them answers over HTTP: the others start without that side.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import boto3
import httpx
from botocore.config import Config
from mangum.types import LambdaContext

from chat.agent import Agent
from chat.asking import Asking
from chat.attachments import AttachmentStore
from chat.bodies import BodyStore
from chat.clearing import Clearing
from chat.conversation import Conversation
from chat.cuts import CutStore
from chat.deletion import ThreadDeletion
from chat.dispatch import TurnDispatcher
from chat.export import Export
from chat.history import HistoryService
from chat.messages import MessageStore
from chat.opencode import OpenCodeClient
from chat.recovery import Recovery
from chat.returning import Returning
from chat.routes import SocketRoutes
from chat.running import TurnRunner
from chat.settings import Settings
from chat.tool_policy import ToolPolicyService
from chat.turns import TurnStore
from threadbox.connections import ConnectionsClient
from threadbox.control import SandboxControlClient
from threadbox.policies import PolicyStore
from threadbox.secrets import JsonSecret
from threadbox.sessions import SessionVerifier
from threadbox.sockets import SocketBroadcast, SocketStore
from threadbox.telemetry import logger
from threadbox.threads import ThreadStore
from threadbox.tls import trusting_nobody

# What a turn leaves of its function's time to store the answer and say goodbye.
FAREWELL = 30

settings = Settings()
table = boto3.resource("dynamodb").Table(settings.table_name)
lambda_client = boto3.client("lambda", config=Config(read_timeout=30, retries={"max_attempts": 2}))
sessions = SessionVerifier(secret=JsonSecret(client=boto3.client("secretsmanager"), arn=settings.session_secret_arn))
threads = ThreadStore(table=table)
bodies = BodyStore(client=cache(lambda: boto3.client("s3")), bucket=settings.bodies_bucket)
cuts = CutStore(table=table, bodies=bodies)
messages = MessageStore(table=table, bodies=bodies, cuts=cuts)
turns = TurnStore(table=table)
sockets = SocketStore(table=table, per_thread=settings.sockets_per_thread)
connections = ConnectionsClient.of(settings.connections_url)
# More than a thread has sockets.
posting = ThreadPoolExecutor(32, "post")
broadcast = SocketBroadcast(store=sockets, connections=connections)
control = SandboxControlClient(client=lambda_client, function=settings.sandbox_ctl_function)
dispatcher = TurnDispatcher(client=lambda_client, function=settings.turn_function)
tls = trusting_nobody()


def sandbox_http() -> httpx.AsyncClient:
    """Return a client for calls to sandboxes, to be closed by whoever asked for it."""
    return httpx.AsyncClient(verify=tls, trust_env=False)


agent = Agent(control=control, http=sandbox_http)
attachments = AttachmentStore(table=table)
returning = Returning(sockets=sockets, turns=turns, messages=messages, attachments=attachments, connections=connections)
recovery = Recovery(turns=turns, messages=messages, broadcast=broadcast, dispatcher=dispatcher, agent=agent)

_socket = SocketRoutes(
    conversation=Conversation(
        sessions=sessions,
        threads=threads,
        sockets=sockets,
        connections=connections,
        broadcast=broadcast,
        messages=messages,
        turns=turns,
        attachments=attachments,
        asking=Asking(messages=messages, turns=turns, cuts=cuts, per_minute=settings.turns_per_minute),
        clearing=Clearing(table=table, messages=messages, turns=turns, cuts=cuts, agent=agent, broadcast=broadcast),
        dispatcher=dispatcher,
        recovery=recovery,
        agent=agent,
    )
)


@cache
def _app() -> Any:
    from mangum import Mangum  # noqa: PLC0415 - see above

    from chat.app import create_app  # noqa: PLC0415 - see above

    return Mangum(
        create_app(
            HistoryService(
                sessions=sessions, threads=threads, store=messages, export_of=Export(table=table, store=messages)
            ),
            ThreadDeletion(
                table=table,
                bodies=bodies,
                sessions=sessions,
                threads=threads,
                sockets=sockets,
                connections=connections,
                control=control,
            ),
            ToolPolicyService(sessions=sessions, threads=threads, policies=PolicyStore(table=table), control=control),
        ),
        lifespan="off",
    )


@logger.inject_lambda_context(clear_state=True)
def http(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a request of the HTTP API."""
    answer: dict[str, Any] = _app()(event, context)
    return answer


@logger.inject_lambda_context(clear_state=True)
def socket(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda passes it
    """Act on an event of the WebSocket API."""
    return _socket.handle(event)


@logger.inject_lambda_context(clear_state=True)
def turn(event: dict[str, Any], context: LambdaContext) -> None:
    """Run the turn that was claimed, or see to a socket whose client came back; invoked asynchronously."""
    if "connection_id" in event:
        returning.see_to(event["thread_id"], event["request_id"], event["connection_id"])
        return
    seconds = min(settings.handover_seconds, context.get_remaining_time_in_millis() / 1000 - FAREWELL)
    asyncio.run(_run_turn(event["thread_id"], event["request_id"], event["invocation"], seconds))


async def _run_turn(thread_id: str, request_id: str, invocation: str, seconds: float) -> None:
    async with sandbox_http() as client:
        runner = TurnRunner(
            turns=turns,
            messages=messages,
            sockets=sockets,
            connections=connections,
            control=control,
            opencode=OpenCodeClient(http=client),
            dispatcher=dispatcher,
            turn_seconds=settings.turn_seconds,
            ask_seconds=settings.ask_seconds,
            posting=posting,
        )
        await runner.run(thread_id, request_id, invocation=invocation, seconds=seconds)


@logger.inject_lambda_context(clear_state=True)
def recover(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001 - Lambda passes it
    """See to a turn whose function failed (its failure destination), or to all whose lease ran out (the schedule)."""
    failed = event.get("requestPayload")
    if failed is None:
        recovery.sweep()
    elif "connection_id" not in failed:
        recovery.go_on(failed["thread_id"], failed["request_id"], failed=failed["invocation"])
