"""Invoking functions through the Lambda API."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import httpx

from local.gateway.errors import IntegrationError, IntegrationRefusedError, IntegrationTimeoutError
from local.stack.aws_clients import signed


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionsClient:
    """Invokes functions and waits for their answers. Not boto3's client, which would hold a thread for each."""

    http: httpx.AsyncClient
    seconds: float
    """How long an integration may take."""

    async def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        """
        Return the function's answer, which has a ``statusCode``.

        Raises:
            IntegrationTimeoutError: there was none in time.
            IntegrationRefusedError: Lambda did not take the event.
            IntegrationError: the function raised, or its answer is none.
        """
        name, _, qualifier = function.partition(":")
        path = f"/2015-03-31/functions/{name}/invocations" + (f"?Qualifier={qualifier}" if qualifier else "")
        url, body = f"{self.http.base_url}{path}", json.dumps(event)
        try:
            async with asyncio.timeout(self.seconds):
                answer = await self.http.post(url, content=body, headers=signed("POST", url, "lambda", body))
        except TimeoutError as error:
            raise IntegrationTimeoutError from error
        except httpx.HTTPError as error:
            raise IntegrationRefusedError from error
        if not answer.is_success:
            raise IntegrationRefusedError
        if "x-amz-function-error" in answer.headers:
            raise IntegrationError
        try:
            result = answer.json()
        except ValueError as error:
            raise IntegrationError from error
        if not isinstance(result, dict) or not isinstance(result.get("statusCode"), int):
            raise IntegrationError
        return result
