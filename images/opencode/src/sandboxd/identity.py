"""Which ECS task this is: asked of the task metadata endpoint, never of a caller."""

import asyncio

import httpx
from pydantic import BaseModel, Field, ValidationError

ATTEMPTS = 5
PAUSE_SECONDS = 0.5


class IdentityError(Exception):
    """The metadata endpoint does not say which task this is."""


class _Task(BaseModel):
    arn: str = Field(alias="TaskARN", min_length=1)


async def get_task_arn(
    metadata_uri: str, *, transport: httpx.AsyncBaseTransport | None = None, pause: float = PAUSE_SECONDS
) -> str:
    """
    Return the ARN of this task.

    The endpoint may lag behind the container's start, so a few attempts are made.

    Raises:
        IdentityError: none of them got a usable answer.
    """
    url = f"{metadata_uri.rstrip('/')}/task"
    async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=2) as client:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(pause)
            try:
                answer = (await client.get(url)).raise_for_status()
                return _Task.model_validate_json(answer.content).arn
            except (httpx.HTTPError, ValidationError) as exc:
                error = exc
    raise IdentityError(f"no task identity at {url}") from error
