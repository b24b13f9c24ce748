"""The WebSocket APIs as they are deployed: which function answers which route."""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local.gateway.errors import ForbiddenError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT, DISCONNECT, DEFAULT = "$connect", "$disconnect", "$default"
_BODY = re.compile(r"\$\{?request\.body\.([\w.]+)\}?")
_FUNCTION = re.compile(r":function:([^/]+)/invocations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """
    One API.

    ``functions`` gives the function of each route key, a proxy integration. Routes are one-way: what a function
    answers to a message is not sent to the client, as on AWS for a route without a route response.
    """

    api_id: str
    stages: frozenset[str]
    selection: str
    functions: "Mapping[str, str]"

    def route_of(self, message: str) -> str:
        """
        The route key that the route selection expression gives for *message*, ``$default`` if no route has it.

        Source: the developer guide, "Route selection expressions"; a message that is not JSON goes to ``$default``.
        """
        expression = _BODY.fullmatch(self.selection)
        if expression is None:
            return DEFAULT
        try:
            value = json.loads(message)
        except ValueError:
            return DEFAULT
        for name in expression[1].split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, str) and value in self.functions else DEFAULT


class Apis:
    """
    Looks APIs up in the embedded AWS, each once.

    They may change when it is started anew, and with the template; with that, the gateway is started anew.
    """

    def __init__(self, client: Any) -> None:
        """Take boto3's client for API Gateway."""
        self._client = client
        self._known: dict[str, Api] = {}

    def forget(self) -> None:
        """Look all of them up anew."""
        self._known.clear()

    async def get(self, api_id: str, stage: str) -> Api:
        """
        Return the API.

        Raises:
            ForbiddenError: there is no such API, or it has no such stage.
        """
        api = self._known.get(api_id)
        if api is None or stage not in api.stages:
            api = self._known[api_id] = await asyncio.to_thread(self._read, api_id)
        if stage not in api.stages:
            raise ForbiddenError
        return api

    def _read(self, api_id: str) -> Api:
        try:
            api = self._client.get_api(ApiId=api_id)
            stages = self._client.get_stages(ApiId=api_id)["Items"]
            routes = self._client.get_routes(ApiId=api_id)["Items"]
            integrations = self._client.get_integrations(ApiId=api_id)["Items"]
        except ClientError as error:
            raise ForbiddenError from error
        functions = {
            item["IntegrationId"]: found[1]
            for item in integrations
            if (found := _FUNCTION.search(item.get("IntegrationUri", "")))
        }
        targets = {route["RouteKey"]: route.get("Target", "").removeprefix("integrations/") for route in routes}
        return Api(
            api_id=api_id,
            stages=frozenset(stage["StageName"] for stage in stages),
            selection=api["RouteSelectionExpression"],
            functions={key: functions[target] for key, target in targets.items() if target in functions},
        )
