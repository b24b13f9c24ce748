"""How sandboxd learns which task it is."""

import httpx
import pytest

from sandboxd.identity import ATTEMPTS, IdentityError, get_task_arn

pytestmark = pytest.mark.anyio
ARN = "arn:aws:ecs:eu-central-1:000000000000:task/threadbox/0123456789abcdef"


async def test_the_metadata_endpoint_is_asked() -> None:
    """The one of the task, below the container's address."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"TaskARN": ARN, "Cluster": "threadbox"})

    assert await get_task_arn("http://metadata/v4/id/", transport=httpx.MockTransport(answer)) == ARN
    assert asked == ["http://metadata/v4/id/task"]


@pytest.mark.parametrize("broken", [httpx.Response(500), httpx.Response(200, json={}), httpx.Response(200, text="<")])
async def test_an_endpoint_that_is_late_is_asked_again(broken: httpx.Response) -> None:
    """It may not know the task yet when the container starts."""
    answers = [broken, httpx.Response(200, json={"TaskARN": ARN})]

    arn = await get_task_arn("http://metadata", transport=httpx.MockTransport(lambda _: answers.pop(0)), pause=0)

    assert arn == ARN


async def test_without_an_identity_there_is_no_start() -> None:
    """No token could be checked: its audience is not known."""
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError("refused")

    with pytest.raises(IdentityError):
        await get_task_arn("http://metadata", transport=httpx.MockTransport(refuse), pause=0)
    assert len(asked) == ATTEMPTS
