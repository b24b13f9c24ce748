"""
Stands in for Amazon ECS on Fargate: an endpoint that boto3's ecs client talks to, which runs tasks as child processes.

Each task is a sandboxd on a loopback address of its own at port 4096. What is not about tasks goes on to the embedded
AWS. Also answers what the task metadata endpoint (version 4) would, and takes orders for faults at ``/_local/faults``.
"""

import argparse
import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.exceptions
import httpx
import uvicorn

from local.ecs.addresses import AddressPool
from local.ecs.cluster import Cluster
from local.ecs.containers import PORT, Launcher
from local.ecs.egress import Egress
from local.ecs.errors import ClientError, EcsError
from local.ecs.events import TaskEvents
from local.ecs.http import create_app
from local.ecs.image import Image
from local.ecs.isolation import Isolation
from local.ecs.tasks import TaskDefinition
from local.stack.aws_clients import client
from local.stack.marks import inherited_mark

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient


def definitions(ecs: "ECSClient") -> Callable[[str], Awaitable[TaskDefinition]]:
    """Look task definitions up in the embedded AWS, which the template put them into."""

    async def define(reference: str) -> TaskDefinition:
        try:
            answer = await asyncio.to_thread(ecs.describe_task_definition, taskDefinition=reference)
        except botocore.exceptions.ClientError as error:
            raise ClientError("TaskDefinition not found.") from error
        except botocore.exceptions.BotoCoreError as error:
            raise EcsError("The embedded AWS does not answer.") from error
        return TaskDefinition.from_api(answer["taskDefinition"])

    return define


def main() -> None:
    """Serve until SIGTERM; then every task is stopped first."""
    parser = argparse.ArgumentParser(prog="local.fargate", description="Local stand-in for ECS on Fargate.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--aws", required=True, help="address of the embedded AWS")
    parser.add_argument("--state", type=Path, required=True, help="directory that gets a folder for each sandbox")
    parser.add_argument("--image", type=Path, default=Path("images/opencode"), help="where the image's parts are")
    parser.add_argument("--network", required=True, help="first two places of the sandboxes' addresses: 127.65")
    parser.add_argument("--proxy", help="address of the CONNECT proxy that sandboxes go out through")
    parser.add_argument("--ca", type=Path, help="certificate of the authority that they trust for it")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for talkative in ("httpx", "botocore"):
        logging.getLogger(talkative).setLevel(logging.WARNING)

    directory: Path = options.state.absolute()
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    events = TaskEvents(client("events", options.aws))
    image, isolation = Image.find(options.image), Isolation.probe()
    cluster = Cluster(
        directory,
        define=definitions(client("ecs", options.aws)),
        launcher=Launcher(
            image=image,
            isolation=isolation,
            mark=inherited_mark(os.environ),
            egress=Egress(proxy_url=options.proxy, authority=options.ca) if options.proxy and options.ca else None,
        ),
        listener=events,
        addresses=AddressPool(options.network, port=PORT),
        metadata_url=f"http://127.0.0.1:{options.port}",
    )
    app = create_app(cluster, events, aws=httpx.AsyncClient(base_url=options.aws))
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
