"""An ECS task, in the shapes in which ECS shows it: to DescribeTasks and in its state change events."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, JsonValue

from local.stack.aws_clients import REGION

ACCOUNT = "000000000000"


class TaskDefinition(BaseModel):
    """What RunTask needs of a task definition."""

    arn: str
    family: str
    container: str
    environment: dict[str, str]
    stop_timeout: float
    """Seconds between SIGTERM and SIGKILL."""
    cpu: str
    memory: str

    @classmethod
    def from_api(cls, definition: Mapping[str, Any]) -> "TaskDefinition":
        """Read it from DescribeTaskDefinition's answer; its first container is the task's only one."""
        container = definition["containerDefinitions"][0]
        return cls(
            arn=definition["taskDefinitionArn"],
            family=definition["family"],
            container=container["name"],
            environment={entry["name"]: entry["value"] for entry in container.get("environment", [])},
            stop_timeout=container.get("stopTimeout", 30),
            cpu=str(definition.get("cpu", "1024")),
            memory=str(definition.get("memory", "2048")),
        )


class Task(BaseModel):
    """One task. Times are Unix seconds."""

    id: str
    cluster: str
    definition: TaskDefinition
    address: str
    request: dict[str, JsonValue]
    """The RunTask request that started it, without its client token."""
    client_token: str | None = None
    version: int = 1
    last_status: str = "PROVISIONING"
    desired_status: str = "RUNNING"
    created_at: float
    started_at: float | None = None
    stopping_at: float | None = None
    stopped_at: float | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    exit_code: int | None = None
    container_reason: str | None = None

    @property
    def arn(self) -> str:
        """The task's name everywhere outside this machine's process table."""
        return f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{self.cluster}/{self.id}"

    @property
    def started_by(self) -> str | None:
        """Who asked for it, in the words of the request."""
        value = self.request.get("startedBy")
        return value if isinstance(value, str) else None

    def describe(self, *, tags: bool = False) -> dict[str, Any]:
        """The task as DescribeTasks answers it; times are numbers, as JSON 1.1 has them."""
        shape: dict[str, Any] = {
            "taskArn": self.arn,
            "clusterArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{self.cluster}",
            "taskDefinitionArn": self.definition.arn,
            "group": self.request.get("group", f"family:{self.definition.family}"),
            "startedBy": self.started_by,
            "launchType": "FARGATE",
            "platformFamily": "Linux",
            "platformVersion": "1.4.0",
            "availabilityZone": f"{REGION}a",
            "connectivity": "CONNECTED",
            "connectivityAt": self.started_at,
            "cpu": self.definition.cpu,
            "memory": self.definition.memory,
            "version": self.version,
            "lastStatus": self.last_status,
            "desiredStatus": self.desired_status,
            "healthStatus": "UNKNOWN",
            "createdAt": self.created_at,
            "pullStartedAt": self.started_at,
            "pullStoppedAt": self.started_at,
            "startedAt": self.started_at,
            "stoppingAt": self.stopping_at,
            "executionStoppedAt": self.stopped_at,
            "stoppedAt": self.stopped_at,
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
            "attachments": [self._network_interface()],
            "containers": [self._container()],
            "overrides": self.request.get("overrides", {}),
            "tags": self.request.get("tags", []) if tags else None,
        }
        return {name: value for name, value in shape.items() if value is not None}

    def event(self) -> dict[str, Any]:
        """The task as a state change event tells it: the same, with times in ISO 8601."""
        return {name: _iso(value) if name.endswith("At") else value for name, value in self.describe().items()}

    def _network_interface(self) -> dict[str, Any]:
        return {
            "id": f"eni-attachment-{self.id}",
            "type": "ElasticNetworkInterface",
            "status": "DELETED" if self.last_status == "STOPPED" else "ATTACHED",
            "details": [{"name": "privateIPv4Address", "value": self.address}],
        }

    def _container(self) -> dict[str, Any]:
        running = self.last_status in {"RUNNING", "STOPPING"}
        shape = {
            "containerArn": f"{self.arn.replace(':task/', ':container/')}/main",
            "taskArn": self.arn,
            "name": self.definition.container,
            "lastStatus": "RUNNING" if running else "STOPPED" if self.stopped_at else "PENDING",
            "exitCode": self.exit_code,
            "reason": self.container_reason,
            "healthStatus": "UNKNOWN",
            "networkInterfaces": [
                {"attachmentId": f"eni-attachment-{self.id}", "privateIpv4Address": self.address},
            ],
        }
        return {name: value for name, value in shape.items() if value is not None}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
