"""Starting tasks on ECS Fargate, behind an interface small enough for another launcher."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from sandbox_ctl.sandboxes import Sandbox
from threadbox.errors import SandboxUnavailableError
from threadbox.identifiers import thread_hash

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import (
        KeyValuePairTypeDef,
        NetworkConfigurationTypeDef,
        TaskOverrideTypeDef,
        TaskTypeDef,
    )

CONTAINER = "sandbox"
# sandboxd's own exit codes (images/opencode/src/sandboxd/contract.py), in the words that a user is told.
ENDS = {
    3: "OpenCode did not start",
    4: "OpenCode ended unexpectedly",
    5: "it was not put to use in time",
    6: "nothing was going on for a while",
    7: "it had run for as long as a sandbox may",
    8: "what is kept of the thread could not be restored",
}
# The container is gone by then, only its network interface is not.
OVER = ("DEPROVISIONING", "STOPPED")


class Task(BaseModel):
    """
    A task as the launcher sees it.

    ``missing``: ECS knows none of that ARN, which counts as stopped. ``created_at`` is epoch seconds.
    """

    model_config = ConfigDict(frozen=True)

    arn: str
    running: bool
    stopped: bool
    missing: bool = False
    address: str | None = None
    reason: str = ""
    started_by: str = ""
    created_at: float = 0


class Launcher(Protocol):
    """Starts, looks at and stops the one task of a sandbox's generation."""

    def launch(self, sandbox: Sandbox) -> str:
        """Start the task and return its ARN; repeating it for the same generation returns the same task."""

    def describe(self, task_arn: str) -> Task:
        """Return the task; one that is no longer known counts as stopped."""

    def stop(self, task_arn: str, *, reason: str) -> None:
        """Ask the task to end; asking again changes nothing."""

    def alive(self, thread_id: str | None = None) -> list[Task]:
        """Return the tasks, of one thread or of all, that have not stopped and were not asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FargateLauncher:
    """The launcher for ECS Fargate."""

    ecs: "ECSClient"
    cluster: str
    subnets: list[str]
    security_group: str
    public_address: bool
    """Whether a task gets one: in a public subnet it has no other way out, in a private one it has no use for it."""

    def launch(self, sandbox: Sandbox) -> str:
        """
        Call RunTask with what was stored, under a client token (64 characters at most) made of what was stored.

        Raises:
            SandboxUnavailableError: ECS has no capacity, throttles, or cannot be reached.
        """
        digest = thread_hash(sandbox.thread_id)
        environment: list[KeyValuePairTypeDef] = [
            {"name": name, "value": value} for name, value in sorted(sandbox.launch.environment.items())
        ]
        overrides: TaskOverrideTypeDef = {"containerOverrides": [{"name": CONTAINER, "environment": environment}]}
        if sandbox.launch.cpu and sandbox.launch.memory:
            overrides |= {"cpu": sandbox.launch.cpu, "memory": sandbox.launch.memory}
        try:
            answer = self.ecs.run_task(
                cluster=self.cluster,
                taskDefinition=sandbox.launch.task_definition,
                launchType="FARGATE",
                count=1,
                # The time tells a generation from one of the same number in a table that was restored since.
                clientToken=f"{digest}-{sandbox.generation}-{sandbox.requested_at}",
                startedBy=digest,
                networkConfiguration=self._network(),
                overrides=overrides,
            )
        except (ClientError, BotoCoreError) as exc:
            raise SandboxUnavailableError("The sandbox could not be started just now.", retry_after=5) from exc
        if not answer["tasks"]:
            raise SandboxUnavailableError("There is no room for another sandbox just now.", retry_after=10)
        return answer["tasks"][0]["taskArn"]

    def describe(self, task_arn: str) -> Task:
        """
        Call DescribeTasks for one task.

        Raises:
            SandboxUnavailableError: ECS throttles or cannot be reached; nothing is known then.
        """
        try:
            answer = self.ecs.describe_tasks(cluster=self.cluster, tasks=[task_arn])
        except (ClientError, BotoCoreError) as exc:
            raise SandboxUnavailableError("The sandbox's state is not known just now.", retry_after=5) from exc
        if answer["tasks"]:
            return _task(answer["tasks"][0])
        return Task(arn=task_arn, running=False, stopped=True, missing=True, reason="The task is gone.")

    def stop(self, task_arn: str, *, reason: str) -> None:
        """
        Call StopTask.

        Raises:
            SandboxUnavailableError: ECS throttles or cannot be reached.
        """
        try:
            self.ecs.stop_task(cluster=self.cluster, task=task_arn, reason=reason)
        except self.ecs.exceptions.InvalidParameterException:
            return
        except (ClientError, BotoCoreError) as exc:
            raise SandboxUnavailableError("The sandbox could not be stopped just now.", retry_after=5) from exc

    def alive(self, thread_id: str | None = None) -> list[Task]:
        """
        Call ListTasks and DescribeTasks, 100 tasks at a time.

        Raises:
            SandboxUnavailableError: ECS throttles or cannot be reached.
        """
        # A filter by startedBy must be the only one.
        only: Any = {"startedBy": thread_hash(thread_id)} if thread_id is not None else {}
        found: list[Task] = []
        try:
            for page in self.ecs.get_paginator("list_tasks").paginate(cluster=self.cluster, **only):
                if page["taskArns"]:
                    described = self.ecs.describe_tasks(cluster=self.cluster, tasks=page["taskArns"])
                    found += [_task(task) for task in described["tasks"] if task.get("desiredStatus") != "STOPPED"]
        except (ClientError, BotoCoreError) as exc:
            raise SandboxUnavailableError("The sandboxes are not known just now.", retry_after=5) from exc
        return [task for task in found if not task.stopped]

    def _network(self) -> "NetworkConfigurationTypeDef":
        groups = [self.security_group] if self.security_group else []
        return {
            "awsvpcConfiguration": {
                "subnets": self.subnets,
                "securityGroups": groups,
                "assignPublicIp": "ENABLED" if self.public_address else "DISABLED",
            }
        }


def _task(task: "TaskTypeDef") -> Task:
    status = task["lastStatus"]
    details = {
        detail["name"]: detail["value"] for part in task.get("attachments", []) for detail in part.get("details", [])
    }
    codes = [c["exitCode"] for c in task.get("containers", []) if "exitCode" in c]
    told = f" (exit code {', '.join(map(str, codes))})" if codes else ""
    reason = next((ENDS[code] for code in codes if code in ENDS), task.get("stoppedReason", "") + told)
    return Task(
        arn=task["taskArn"],
        running=status == "RUNNING",
        stopped=status in OVER,
        address=details.get("privateIPv4Address"),
        reason=reason,
        started_by=task.get("startedBy", ""),
        created_at=task["createdAt"].timestamp() if "createdAt" in task else 0,
    )
