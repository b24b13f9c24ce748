"""The requests of ECS that the local stack answers itself: RunTask, DescribeTasks, ListTasks and StopTask."""

import base64
import binascii
from typing import TYPE_CHECKING, Any

from local.ecs.cluster import Cluster
from local.ecs.errors import InvalidParameterError, ThrottlingError
from local.ecs.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NO_CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
MOST_DESCRIBED = 100
MOST_LISTED = 100

Json = dict[str, Any]


class EcsApi:
    """Turns requests as boto3 sends them into answers as boto3 reads them."""

    def __init__(self, cluster: Cluster, faults: Faults) -> None:
        self._cluster = cluster
        self._faults = faults
        self.operations: dict[str, Callable[[Json], Awaitable[Json]]] = {
            "RunTask": self._run_task,
            "DescribeTasks": self._describe_tasks,
            "ListTasks": self._list_tasks,
            "StopTask": self._stop_task,
        }

    async def _run_task(self, request: Json) -> Json:
        if self._faults.due("run_task", "throttle"):
            raise ThrottlingError("Rate exceeded")
        if self._faults.due("run_task", "no_capacity"):
            return {"tasks": [], "failures": [{"reason": NO_CAPACITY}]}
        if request.get("count", 1) != 1:
            raise InvalidParameterError("The local stack starts one task at a time.")
        task = await self._cluster.run(request)
        return {"tasks": [task.describe(tags=True)], "failures": []}

    async def _describe_tasks(self, request: Json) -> Json:
        references = request.get("tasks", [])
        if len(references) > MOST_DESCRIBED:
            raise InvalidParameterError("Tasks can have at most 100 items.")
        tags = "TAGS" in request.get("include", [])
        found, failures = [], []
        for reference in references:
            task = self._cluster.find(reference, cluster=_cluster(request))
            if task is None:
                failures.append({"arn": reference, "reason": "MISSING"})
            else:
                found.append(task.describe(tags=tags))
        return {"tasks": found, "failures": failures}

    async def _list_tasks(self, request: Json) -> Json:
        family = request.get("family")
        arns = [
            task.arn
            for task in self._cluster.tasks()
            if task.cluster == _cluster(request)
            and task.desired_status == request.get("desiredStatus", "RUNNING")
            and family in {None, task.definition.family}
            and request.get("startedBy") in {None, task.started_by}
            and request.get("launchType") in {None, "FARGATE"}
        ]
        start = _offset(request.get("nextToken"))
        end = start + min(request.get("maxResults", MOST_LISTED), MOST_LISTED)
        answer: Json = {"taskArns": arns[start:end]}
        if end < len(arns):
            answer["nextToken"] = base64.b64encode(str(end).encode()).decode()
        return answer

    async def _stop_task(self, request: Json) -> Json:
        task = self._cluster.find(request["task"], cluster=_cluster(request))
        if task is None:
            raise InvalidParameterError("The referenced task was not found.")
        self._cluster.stop(task, reason=request.get("reason"))
        return {"task": task.describe()}


def _cluster(request: Json) -> str:
    name: str = request.get("cluster", "default")
    return name.rpartition("/")[2]


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidParameterError("Invalid token") from error
