"""
A thread's sandbox in a network of its own, started by the real sandbox_ctl on the stack's table.

The stack's own ECS gives its sandboxes one network, in which OpenCode's listener for the browser's way back would be
everybody's. What stands in for it here is the launcher alone: the deployed functions find the sandbox in its row, and
call it as any other.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from uuid import uuid4

import boto3
import httpx

from local.ecs.egress import Egress
from local.ecs.image import Image
from local.ecs.isolation import places, prepare
from local.idp.authority import CERTIFICATE
from local.stack.aws_clients import client
from local.stack.layout import Layout
from local.stack.ports import Ports
from local.stack.stack_file import StackFile
from sandbox_ctl.callkeys import CallSigner
from sandbox_ctl.daemon import PORT, DaemonClient
from sandbox_ctl.launcher import Task
from sandbox_ctl.models import Model, ModelAccess
from sandbox_ctl.sandboxes import Sandbox, SandboxStore
from sandbox_ctl.service import SandboxService
from sandbox_ctl.starts import Starter
from tests.networks import LOOPBACK, Plan, in_own_network
from tests.stacks import ROOT
from tests.waiting import eventually
from threadbox.control import Access
from threadbox.grants import GrantStore
from threadbox.secrets import JsonSecret

START_SECONDS = 90
_numbers = count(1)


@contextmanager
def own_sandbox(stack: StackFile, state: Path, *, thread_id: str, directory: Path) -> Iterator[None]:
    """Have the thread's sandbox run until the end of the block; *state* is the stack's own directory."""
    with httpx.Client(trust_env=False) as http, ExitStack() as running:
        functions = client("lambda", stack.aws_url)
        deployed = functions.get_function_configuration(FunctionName="threadbox-sandbox-ctl")["Environment"][
            "Variables"
        ]
        secrets = client("secretsmanager", stack.aws_url)
        signer = CallSigner(secret=JsonSecret(client=secrets, arn=deployed["CALL_SECRET_ARN"]))
        table = boto3.resource("dynamodb", endpoint_url=stack.aws_url).Table(stack.outputs["TableName"])
        store = SandboxStore(table=table)
        model = Model(base_url=deployed["MODEL_BASE_URL"], name=deployed["MODEL_NAME"])
        service = SandboxService(
            store=store,
            grants=GrantStore(table=table),
            starter=Starter(
                store=store,
                launcher=NetworkLauncher(stack, Layout.of(state).idp / CERTIFICATE, directory, running),
                daemon=DaemonClient(http=http, signer=signer),
                models=lambda: ModelAccess(model=model),
            ),
            signer=signer,
            task_definition=deployed["TASK_DEFINITION"],
        )
        eventually(lambda: isinstance(service.ensure(thread_id, scope="signin"), Access), seconds=START_SECONDS)
        yield


@dataclass
class NetworkLauncher:
    """Starts tasks as processes in networks of their own; they end with *running*."""

    stack: StackFile
    authority: Path
    directory: Path
    running: ExitStack
    tasks: dict[str, Task] = field(default_factory=dict)

    def launch(self, sandbox: Sandbox) -> str:
        """Start the one task there is."""
        for arn in self.tasks:
            return arn
        arn = f"arn:aws:ecs:us-east-1:000000000000:task/threadbox/{uuid4().hex}"
        # Far from the addresses that the stack's own sandboxes get first.
        address = f"{Ports(self.stack.ports['aws']).sandbox_network}.254.{next(_numbers)}"
        metadata = self.running.enter_context(task_metadata(arn))
        image = Image.find(ROOT / "images" / "opencode")
        prepare(self.directory, agent_owns=False)
        egress = Egress(proxy_url=f"http://{LOOPBACK}:{self.stack.ports['idp_proxy']}", authority=self.authority)
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **sandbox.launch.environment,
            **places(image, self.directory, namespaces=False),
            **egress.environment(namespaces=False),
            "SANDBOXD_HOST": address,
            "SANDBOXD_PORT": str(PORT),
            "SANDBOXD_BOOT_SECONDS": str(START_SECONDS),
            "ECS_CONTAINER_METADATA_URI_V4": f"http://{LOOPBACK}:{metadata}",
        }
        reach = [metadata, self.stack.ports["idp_proxy"], self.stack.ports["model"]]
        plan = Plan(command=[str(image.python), "-m", "sandboxd"], address=address, port=PORT, reach=reach)
        log = self.directory / "log"
        self.running.enter_context(in_own_network(plan, environment=environment, log=log))
        self.tasks[arn] = Task(arn=arn, running=True, stopped=False, address=address)
        return arn

    def describe(self, task_arn: str) -> Task:
        """Return the task."""
        return self.tasks[task_arn]

    def stop(self, task_arn: str, *, reason: str) -> None:
        """Let it run: it ends with the test."""


@contextmanager
def task_metadata(task_arn: str) -> Iterator[int]:
    """A task metadata endpoint of one task; yields its port."""

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"TaskARN": task_arn}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((LOOPBACK, 0), Metadata) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
