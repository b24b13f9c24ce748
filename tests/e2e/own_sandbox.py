"""
A thread's sandbox in a network of its own, started by the real sandbox_ctl on the stack's table.

The stack's own ECS gives its sandboxes one network, in which OpenCode's listener for the browser's way back would be
everybody's. What stands in for it here is the launcher alone: the deployed functions find the sandbox in its row, and
call it as any other.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from itertools import count
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest

from local.ecs.egress import Egress
from local.ecs.image import Image
from local.ecs.isolation import places, prepare
from local.idp.authority import CERTIFICATE
from local.stack.aws_clients import client
from local.stack.layout import Layout
from local.stack.ports import Ports
from local.stack.stack_file import StackFile
from sandbox_ctl.census import Census
from sandbox_ctl.daemon import PORT
from sandbox_ctl.launcher import Launcher, Task
from sandbox_ctl.sandboxes import Sandbox
from sandbox_ctl.service import SandboxService
from tests.networks import LOOPBACK, Plan, in_own_network
from tests.stacks import ROOT
from tests.waiting import eventually
from threadbox.control import Access
from threadbox.updates import transact

START_SECONDS = 90
_numbers = count(1)


@contextmanager
def own_sandbox(stack: StackFile, state: Path, *, thread_id: str, directory: Path) -> Iterator[None]:
    """Have the thread's sandbox run until the end of the block; *state* is the stack's own directory."""
    with ExitStack() as running:
        launcher = NetworkLauncher(stack, Layout.of(state).idp / CERTIFICATE, directory, running)
        control = sandbox_control(stack, launcher)
        eventually(lambda: isinstance(control.ensure(thread_id, scope="signin"), Access), seconds=START_SECONDS)
        # To the stack's own ECS there is no such task: its sweeper must not look for it.
        table = control.store.table
        transact(table, Census(table=table, per_user=1).exit(thread_id, None))
        yield


def sandbox_control(stack: StackFile, launcher: Launcher) -> SandboxService:
    """sandbox_ctl as it is deployed, but for the launcher."""
    deployed = deployed_service(stack)
    return replace(deployed, starter=replace(deployed.starter, launcher=launcher))


def deployed_service(stack: StackFile) -> SandboxService:
    """sandbox_ctl as its composition root makes it of the deployed function's environment."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (variables(stack) | {"AWS_ENDPOINT_URL": stack.aws_url}).items():
            environment.setenv(name, value)
        handler = import_module("sandbox_ctl.handler")
        # Made when first used, and once: later the environment is another.
        handler.s3()
    service: SandboxService = handler.service
    return service


def variables(stack: StackFile) -> dict[str, str]:
    """Environment of the deployed sandbox_ctl."""
    function = client("lambda", stack.aws_url).get_function_configuration(FunctionName="threadbox-sandbox-ctl")
    return function["Environment"]["Variables"]


@dataclass
class NetworkLauncher:
    """Starts the one task there is, as a process in a network of its own that ends with *running*."""

    stack: StackFile
    authority: Path
    directory: Path
    running: ExitStack
    task: Task | None = None

    def launch(self, sandbox: Sandbox) -> str:
        """Start it, the first time."""
        if self.task is None:
            self.task = self._start(sandbox.launch.environment)
        return self.task.arn

    def describe(self, task_arn: str) -> Task:
        """Return it as it was started: it ends with the test."""
        assert self.task is not None
        return self.task

    def stop(self, task_arn: str, *, reason: str) -> None:
        """Let it run until the test ends."""

    def alive(self, thread_id: str | None = None) -> list[Task]:
        """Return it, once it was started."""
        return [] if self.task is None else [self.task]

    def _start(self, given: dict[str, str]) -> Task:
        arn = f"arn:aws:ecs:us-east-1:000000000000:task/threadbox/{uuid4().hex}"
        metadata = self.running.enter_context(task_metadata(arn))
        # Far from the addresses that the stack's own sandboxes get first.
        address = f"{Ports(self.stack.ports['aws']).sandbox_network}.254.{next(_numbers)}"
        image = Image.find(ROOT / "images" / "opencode")
        egress = Egress(proxy_url=f"http://{LOOPBACK}:{self.stack.ports['idp_proxy']}", authority=self.authority)
        prepare(self.directory, agent_owns=False)
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **given,
            **places(image, self.directory, namespaces=False),
            **egress.environment(namespaces=False),
            "SANDBOXD_HOST": address,
            "SANDBOXD_PORT": str(PORT),
            "SANDBOXD_BOOT_SECONDS": str(START_SECONDS),
            "ECS_CONTAINER_METADATA_URI_V4": f"http://{LOOPBACK}:{metadata}",
        }
        plan = Plan(
            command=[str(image.python), "-m", "sandboxd"],
            address=address,
            port=PORT,
            reach=[metadata, *(self.stack.ports[name] for name in ("aws", "idp_proxy", "model"))],
        )
        self.running.enter_context(in_own_network(plan, environment=environment, log=self.directory / "log"))
        return Task(arn=arn, running=True, stopped=False, address=address)


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
