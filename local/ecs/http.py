"""The local ECS over HTTP: AWS JSON 1.1 for boto3, the task metadata for sandboxd, and orders for faults."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.ecs.api import EcsApi
from local.ecs.cluster import Cluster
from local.ecs.errors import EcsError
from local.ecs.events import TaskEvents
from local.ecs.faults import FaultOrder, Faults

PREFIX = "AmazonEC2ContainerServiceV20141113."
JSON_1_1 = "application/x-amz-json-1.1"
SIGNED_HEADERS = ("authorization", "x-amz-date", "x-amz-target")
EVENTS_AT_CLOSE_SECONDS = 3.0


class EcsEndpoint:
    """The routes of the endpoint."""

    def __init__(self, cluster: Cluster, *, aws: httpx.AsyncClient) -> None:
        """Take the tasks, and the embedded AWS for what is not about tasks."""
        self._cluster = cluster
        self._aws = aws
        self._faults = Faults()
        self._api = EcsApi(cluster, self._faults)
        self.routes = [
            Route("/", self._ecs, methods=["POST"]),
            Route("/v4/{task_id}/task", self._metadata),
            Route("/_local/faults", self._order_fault, methods=["POST"]),
            Route("/_local/health", self._health),
        ]

    async def _ecs(self, request: Request) -> Response:
        operation = request.headers.get("x-amz-target", "").removeprefix(PREFIX)
        body = await request.body()
        if operation not in self._api.operations:
            return await self._pass_on(request, body)
        try:
            answer = await self._api.operations[operation](json.loads(body or b"{}"))
        except EcsError as error:
            return JSONResponse(
                {"__type": error.code, "message": str(error)}, status_code=error.status, media_type=JSON_1_1
            )
        if operation == "RunTask" and self._faults.due("run_task", "lose_response"):
            # As when a connection breaks behind a load balancer: the caller never learns what became of its request.
            return Response(status_code=HTTPStatus.BAD_GATEWAY)
        return JSONResponse(answer, media_type=JSON_1_1)

    async def _pass_on(self, request: Request, body: bytes) -> Response:
        headers = {name: request.headers[name] for name in SIGNED_HEADERS if name in request.headers}
        answer = await self._aws.post("/", content=body, headers={"content-type": JSON_1_1, **headers})
        return Response(answer.content, status_code=answer.status_code, media_type=JSON_1_1)

    async def _metadata(self, request: Request) -> Response:
        task = self._cluster.get(request.path_params["task_id"])
        if task is None:
            return Response(status_code=404)
        return JSONResponse(
            {
                "Cluster": task.cluster,
                "TaskARN": task.arn,
                "Family": task.definition.family,
                "Revision": task.definition.arn.rpartition(":")[2],
                "DesiredStatus": task.desired_status,
                "KnownStatus": task.last_status,
                "LaunchType": "FARGATE",
            }
        )

    async def _order_fault(self, request: Request) -> Response:
        try:
            self._faults.order(FaultOrder.model_validate_json(await request.body()))
        except ValidationError as error:
            return JSONResponse({"message": str(error)}, status_code=422)
        return Response(status_code=204)

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"ok": True})


def create_app(cluster: Cluster, events: TaskEvents, *, aws: httpx.AsyncClient) -> Starlette:
    """The endpoint as an application; when it ends, all tasks are stopped first."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        cluster.open()
        yield
        await cluster.close()
        await events.close(patience=EVENTS_AT_CLOSE_SECONDS)

    return Starlette(routes=EcsEndpoint(cluster, aws=aws).routes, lifespan=lifespan)
