"""
The life of the local ECS tasks.

    PROVISIONING ─▶ PENDING ─▶ RUNNING ─▶ STOPPING ─▶ DEPROVISIONING ─▶ STOPPED
                       └─ did not start ──────┴── ended by itself ───────┘

What is known of a task lies in ``<directory>/<task id>/task.json`` and outlives this process; the task itself does not.
"""

import asyncio
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from local.ecs.addresses import AddressPool, NoAddressError
from local.ecs.containers import Container, ContainerStartError, Launcher
from local.ecs.errors import ClientError, ConflictError, InvalidParameterError
from local.ecs.tasks import Task, TaskDefinition

KEPT = 20
"""Directories of ended tasks that outlive a restart."""
LEFT_BEHIND = "The local stack ended"
GRACE_AT_CLOSE_SECONDS = 5.0


class Listener(Protocol):
    """Is told of every change of a task."""

    def send(self, task: Task) -> None:
        """Take the task as it is now."""


class Cluster:
    """All tasks, of whatever cluster they name."""

    def __init__(
        self,
        directory: Path,
        *,
        define: Callable[[str], Awaitable[TaskDefinition]],
        launcher: Launcher,
        listener: Listener,
        addresses: AddressPool,
        metadata_url: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take what looks up a task definition, and where a task asks for its metadata."""
        self._directory = directory
        self._define = define
        self._launcher = launcher
        self._listener = listener
        self._addresses = addresses
        self._metadata_url = metadata_url
        self._now = now
        self._tasks: dict[str, Task] = {}
        self._by_token: dict[str, asyncio.Future[Task]] = {}
        self._stops: dict[str, asyncio.Event] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}

    def open(self) -> None:
        """Remember the tasks of earlier runs, all of them stopped by now, and drop the oldest."""
        found = sorted(self._load(), key=lambda task: task.created_at)
        for task in found[:-KEPT]:
            shutil.rmtree(self._directory / task.id, ignore_errors=True)
        for task in found[-KEPT:]:
            self._tasks[task.id] = task
            if task.client_token is not None:
                self._by_token[task.client_token] = _done(task)
            if task.last_status != "STOPPED":
                task.exit_code = 137
                self._end(task, code="EssentialContainerExited", reason=LEFT_BEHIND)

    async def close(self) -> None:
        """Stop every task and wait until none runs."""
        for task_id in list(self._lives):
            self.stop(self._tasks[task_id], reason=LEFT_BEHIND)
        if self._lives:
            await asyncio.wait(list(self._lives.values()))

    async def run(self, request: dict[str, Any]) -> Task:
        """
        Start a task, or find the one that this client token started before, running or not.

        Raises:
            ConflictError: the token started one with other parameters.
            ClientError: there is no such task definition, or no address left.
            InvalidParameterError: the request asks for what is not possible.

        """
        parameters = {name: value for name, value in request.items() if name != "clientToken"}
        token = request.get("clientToken")
        if token is None:
            return await self._create(parameters, token=None)
        if token not in self._by_token:
            creating = asyncio.ensure_future(self._create(parameters, token=token))
            self._by_token[token] = creating
            creating.add_done_callback(lambda done: self._forget_failure(token, done))
        task = await asyncio.shield(self._by_token[token])
        if task.request != parameters:
            raise ConflictError("The client token was used before with other parameters.")
        return task

    def find(self, reference: str, *, cluster: str) -> Task | None:
        """The task of that id or ARN, if there is one in the cluster."""
        task = self._tasks.get(reference.rpartition("/")[2])
        return task if task is not None and task.cluster == cluster and reference in {task.id, task.arn} else None

    def get(self, task_id: str) -> Task | None:
        """The task of that id, if there is one in any cluster."""
        return self._tasks.get(task_id)

    def tasks(self) -> Iterable[Task]:
        """All tasks, oldest first."""
        return self._tasks.values()

    def stop(self, task: Task, *, reason: str | None) -> None:
        """Ask a task to stop; it is stopped later."""
        if task.desired_status == "STOPPED":
            return
        task.desired_status = "STOPPED"
        task.stop_code = "UserInitiated"
        task.stopped_reason = reason or "Task stopped by user"
        task.stopping_at = self._now()
        self._change(task, "STOPPING" if task.last_status == "RUNNING" else task.last_status)
        self._stops[task.id].set()

    def _forget_failure(self, token: str, creating: asyncio.Future[Task]) -> None:
        if creating.cancelled() or creating.exception() is not None:
            del self._by_token[token]

    async def _create(self, parameters: dict[str, Any], *, token: str | None) -> Task:
        definition = await self._define(parameters["taskDefinition"])
        environment = definition.environment | _overrides(parameters, container=definition.container)
        try:
            address = self._addresses.take()
        except NoAddressError as error:
            raise ClientError("The subnet has no free address.") from error
        task = Task(
            id=secrets.token_hex(16),
            cluster=parameters.get("cluster", "default").rpartition("/")[2],
            definition=definition,
            address=address,
            request=parameters,
            client_token=token,
            created_at=self._now(),
        )
        self._tasks[task.id] = task
        self._stops[task.id] = asyncio.Event()
        self._change(task, "PROVISIONING")
        life = asyncio.create_task(self._live(task, environment))
        self._lives[task.id] = life
        life.add_done_callback(lambda _: self._lives.pop(task.id))
        return task

    async def _live(self, task: Task, environment: dict[str, str]) -> None:
        self._change(task, "PENDING")
        environment = environment | {"ECS_CONTAINER_METADATA_URI_V4": f"{self._metadata_url}/v4/{task.id}"}
        try:
            container = await self._launcher.start(self._directory / task.id, environment, address=task.address)
        except ContainerStartError as error:
            task.container_reason = f"CannotStartContainerError: {error}"
            self._end(task, code="TaskFailedToStart", reason=task.container_reason)
        else:
            task.started_at = self._now()
            self._change(task, "STOPPING" if self._stops[task.id].is_set() else "RUNNING")
            task.exit_code = await self._ended(task, container)
            self._end(task, code="EssentialContainerExited", reason="Essential container in task exited")
        finally:
            self._addresses.give_back(task.address)
            del self._stops[task.id]

    async def _ended(self, task: Task, container: Container) -> int:
        """Wait for the container's end, helping it when somebody asked for it."""
        ended = asyncio.create_task(container.wait())
        asked = asyncio.create_task(self._stops[task.id].wait())
        await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not ended.done():
            container.terminate()
            grace = task.definition.stop_timeout
            if task.stopped_reason == LEFT_BEHIND:
                grace = min(grace, GRACE_AT_CLOSE_SECONDS)
            await asyncio.wait({ended}, timeout=grace)
            if not ended.done():
                container.kill()
        return await ended

    def _end(self, task: Task, *, code: str, reason: str) -> None:
        task.desired_status = "STOPPED"
        task.stop_code = task.stop_code or code
        task.stopped_reason = task.stopped_reason or reason
        task.stopping_at = task.stopping_at or self._now()
        if task.last_status != "DEPROVISIONING":
            self._change(task, "DEPROVISIONING")
        task.stopped_at = self._now()
        self._change(task, "STOPPED")

    def _change(self, task: Task, status: str) -> None:
        if status != task.last_status:
            task.last_status = status
            task.version += 1
        directory = self._directory / task.id
        directory.mkdir(parents=True, exist_ok=True)
        draft = directory / "task.json.new"
        draft.write_text(task.model_dump_json())
        draft.replace(directory / "task.json")
        self._listener.send(task)

    def _load(self) -> Iterable[Task]:
        for path in self._directory.glob("*/task.json"):
            try:
                yield Task.model_validate_json(path.read_text())
            except ValidationError:
                # Written by another version of this file.
                shutil.rmtree(path.parent, ignore_errors=True)


def _overrides(parameters: dict[str, Any], *, container: str) -> dict[str, str]:
    environment: dict[str, str] = {}
    for override in parameters.get("overrides", {}).get("containerOverrides", []):
        if override.get("name") != container:
            raise InvalidParameterError(
                f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
            )
        environment |= {entry["name"]: entry["value"] for entry in override.get("environment", [])}
    return environment


def _done(task: Task) -> asyncio.Future[Task]:
    future: asyncio.Future[Task] = asyncio.get_running_loop().create_future()
    future.set_result(task)
    return future
