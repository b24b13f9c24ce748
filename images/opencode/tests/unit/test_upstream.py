"""The way to the model."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine

import httpx
import pytest
from harness import ANTHROPIC_KEY, API_KEY

from sandboxd.providers import WARM_UP, Upstream
from sandboxd.upstream import ModelProxy, create_model_app

pytestmark = pytest.mark.anyio
Answer = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def opencode_of(answer: Answer, upstream: Upstream) -> tuple[httpx.AsyncClient, str]:
    """A client of the proxy as OpenCode is one, and the base URL it is configured with."""
    proxy = ModelProxy(port=9, client=httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    proxy.open({"default": upstream})
    client = httpx.AsyncClient(transport=httpx.ASGITransport(create_model_app(proxy)))
    return client, proxy.base_url("default")


def way_out(credentials: dict[str, str] | None = None) -> Upstream:
    key = {"authorization": f"Bearer {API_KEY}"} if credentials is None else credentials
    return Upstream(base_url="https://model.example/v1", credentials=key, routes=frozenset(("chat/completions",)))


class Body(httpx.AsyncByteStream):
    """An answer's body as it comes over a wire: unread."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


def unreachable(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no way")


async def test_a_warm_up_is_answered_without_a_model() -> None:
    """One short, whole answer, while it lasts; what else is asked then, or later, is refused."""
    proxy = ModelProxy(port=9, client=httpx.AsyncClient(transport=httpx.MockTransport(unreachable)))
    proxy.open({"default": way_out()})
    url = f"{proxy.base_url(WARM_UP)}/chat/completions"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_model_app(proxy))) as client:
        with proxy.warming() as text:
            answer = await client.post(url, json={"messages": [{"role": "user", "content": text}]})
            beside = await client.post(url, json={"messages": [{"role": "user", "content": "warm up"}]})
        later = await client.post(url, json={"messages": [{"role": "user", "content": text}]})

    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    assert [json.loads(line)["choices"][0]["finish_reason"] for line in lines[:-1]] == [None, "stop"]
    for refused in (beside, later):
        assert (refused.status_code, refused.json()["error"]["message"]) == (404, "no model is configured")


async def test_the_key_is_put_in_place_of_what_opencode_sends() -> None:
    """Path, query and body are passed on as they are; credentials of the sandbox are not."""
    seen: list[httpx.Request] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, headers={"set-cookie": "a=b"}, stream=Body(b"you said " + await request.aread()))

    client, base_url = opencode_of(answer, way_out())
    headers = {
        "authorization": "Bearer dummy",
        "cookie": "c=d",
        "x-session-id": "ses_1",
        "connection": "x-hop",
        "x-hop": "1",
    }
    async with client:
        passed = await client.post(f"{base_url}/chat/completions?a=%20b", content=b"hello", headers=headers)

    assert str(seen[0].url) == "https://model.example/v1/chat/completions?a=%20b"
    assert seen[0].headers["authorization"] == f"Bearer {API_KEY}"
    assert seen[0].headers["x-session-id"] == "ses_1"
    assert {"cookie", "x-hop"}.isdisjoint(seen[0].headers)
    assert passed.text == "you said hello"
    assert "set-cookie" not in passed.headers


async def test_a_model_without_a_key_gets_none() -> None:
    """Not even the dummy."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=Body(b""))

    client, base_url = opencode_of(answer, way_out({}))
    async with client:
        await client.post(f"{base_url}/chat/completions", headers={"authorization": "Bearer dummy"})

    assert "authorization" not in seen[0].headers


async def test_a_key_in_another_header_replaces_every_key_that_opencode_sends() -> None:
    """The dummy goes nowhere, by whichever header it came."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=Body(b""))

    client, base_url = opencode_of(answer, way_out({"x-api-key": ANTHROPIC_KEY}))
    async with client:
        dummies = {"authorization": "Bearer dummy", "X-Api-Key": "dummy", "anthropic-version": "2023-06-01"}
        await client.post(f"{base_url}/chat/completions", headers=dummies)

    assert seen[0].headers.get_list("x-api-key") == [ANTHROPIC_KEY]
    assert "authorization" not in seen[0].headers
    assert seen[0].headers["anthropic-version"] == "2023-06-01"


async def test_only_the_routes_that_talk_to_a_model_are_open() -> None:
    """The agent can use the proxy: not to list the account's files, nor by a path that leads elsewhere."""
    client, base_url = opencode_of(unreachable, way_out())
    paths = ("files", "chat/completions/../files", "chat/completions/", "%2e%2e/files", "organization/admin_api_keys")
    async with client:
        answers = [await client.post(f"{base_url}/{path}") for path in paths]
        answers += [await client.post(base_url.removesuffix("default") + "anthropic/messages")]
        read = await client.get(f"{base_url}/chat/completions")

    assert {404} == {answer.status_code for answer in answers}
    assert read.status_code == 405


async def test_an_error_that_repeats_the_key_does_not_hand_it_over() -> None:
    """OpenCode would keep it in its database, where every command of the agent can read."""
    told = f'{{"error":"no such key: {API_KEY}"}}'.encode()
    client, base_url = opencode_of(
        lambda _: httpx.Response(401, headers={"x-tried": f"Bearer {API_KEY}"}, stream=Body(told)), way_out()
    )
    async with client:
        answer = await client.post(f"{base_url}/chat/completions", json={})

    assert (answer.status_code, answer.json()) == (401, {"error": "no such key: ***"})
    assert API_KEY not in str(answer.headers)


async def test_a_wrong_path_key_opens_nothing() -> None:
    """Whoever else is on this machine is no client of this model."""
    client, base_url = opencode_of(lambda _: httpx.Response(200), way_out())
    async with client:
        root = base_url.removesuffix("/default")
        answers = [
            await client.post(f"{wrong}/default/chat/completions") for wrong in (root[:-1], root + "x", root[:-1] + "x")
        ]

    assert {404} == {answer.status_code for answer in answers}


async def test_a_model_out_of_reach_is_a_502_without_details() -> None:
    """In the shape OpenAI's clients read; OpenCode retries it."""
    client, base_url = opencode_of(unreachable, way_out())
    async with client:
        answer = await client.post(f"{base_url}/chat/completions", json={})

    assert answer.status_code == 502
    assert answer.json()["error"]["message"] == "the model cannot be reached (ConnectError)"


async def test_the_models_own_errors_are_passed_on() -> None:
    """Status and body tell OpenCode what to do."""
    client, base_url = opencode_of(
        lambda _: httpx.Response(429, headers={"retry-after": "7"}, stream=Body(b"slow down")), way_out()
    )
    async with client:
        answer = await client.post(f"{base_url}/chat/completions", json={})

    assert (answer.status_code, answer.headers["retry-after"], answer.text) == (429, "7", "slow down")


async def test_a_client_that_leaves_ends_the_call_to_the_model() -> None:
    """An aborted turn must not go on costing tokens."""
    closed = asyncio.Event()

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"data: {}\n\n"
            await asyncio.Event().wait()

        async def aclose(self) -> None:
            closed.set()

    proxy = ModelProxy(
        port=9, client=httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless())))
    )
    proxy.open({"default": way_out()})
    app = create_model_app(proxy)
    left = asyncio.Event()
    path = proxy.base_url("default").removeprefix("http://127.0.0.1:9") + "/chat/completions"

    async def receive() -> dict[str, object]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        if message.get("body"):
            left.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
    }
    async with asyncio.timeout(5):
        await app(scope, receive, send)  # type: ignore[arg-type]

    assert closed.is_set()
