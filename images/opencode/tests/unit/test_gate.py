"""What a genuine token opens."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from harness import ControlPlane
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from sandboxd.gate import CallGate
from sandboxd.tokens import TokenVerifier, public_keys

pytestmark = pytest.mark.anyio
BODY_BYTES = 1000


@dataclass
class Binding:
    thread_id: str | None = "thread-1"
    generation: int | None = 1


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind the gate: tells what reached it."""
    request = Request(scope, receive)
    body = (await request.body()).decode()
    await JSONResponse({"body": body, "thread": request.state.claims.thread})(scope, receive, send)


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


@pytest.fixture
def binding() -> Binding:
    return Binding()


@pytest.fixture
async def client(plane: ControlPlane, binding: Binding) -> AsyncIterator[httpx.AsyncClient]:
    verifier = TokenVerifier(public_keys(plane.public_keys), audience=plane.audience)
    gate = CallGate(echo, verifier=verifier, binding=binding, body_bytes=BODY_BYTES)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://sandbox") as client:
        yield client


async def call(
    client: httpx.AsyncClient, token: str, method: str = "GET", path: str = "/session", body: bytes = b""
) -> tuple[int, str]:
    answer = await client.request(method, path, content=body, headers={"authorization": f"Bearer {token}"})
    return answer.status_code, answer.json().get("code", "")


async def test_a_control_call_reaches_the_application_with_its_body(
    client: httpx.AsyncClient, plane: ControlPlane
) -> None:
    """The body that was read to be checked is there to be read again."""
    token = plane.control("PUT", "/any/route?a=%20b", b"hello")
    answer = await client.put("/any/route?a=%20b", content=b"hello", headers={"authorization": f"bearer {token}"})

    assert answer.json() == {"body": "hello", "thread": "thread-1"}


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic b3BlbmNvZGU6cHc="])
async def test_calls_without_a_token_are_unauthorized(client: httpx.AsyncClient, header: str | None) -> None:
    """Nothing answers to whoever has no token, whatever the route."""
    headers = {} if header is None else {"authorization": header}
    statuses = {
        (await client.get(path, headers=headers)).status_code
        for path in ("/sandboxd/hello", "/sandboxd/health", "/", "/nonsense")
    }

    assert {401} == statuses


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "POST"},
        {"method": None},
        {"path": "/session?limit=1"},
        {"path": "/session/"},
        {"path": None},
        {"body": "00" * 32},
        {"body": None},
        {"thread": "thread-2"},
        {"gen": 2},
        {"gen": 0},
    ],
)
async def test_a_control_token_opens_one_call_only(
    client: httpx.AsyncClient, plane: ControlPlane, changes: dict[str, object]
) -> None:
    """Method, path with query, body, thread and generation are those that were signed."""
    assert await call(client, plane.control("GET", "/session", b"", **changes)) == (403, "forbidden")


async def test_a_control_token_does_not_open_the_same_path_with_a_query(
    client: httpx.AsyncClient, plane: ControlPlane
) -> None:
    """What is added to a signed path makes it another one; so does another spelling of it."""
    for path in ("/session?x=1", "/%73ession", "/session/"):
        assert await call(client, plane.control("GET", "/session"), path=path) == (403, "forbidden")


async def test_a_replayed_control_token_is_unauthorized(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    """One call, once."""
    token = plane.control("GET", "/session")

    assert [await call(client, token), await call(client, token)] == [(200, ""), (401, "unauthorized")]


async def test_a_refused_call_does_not_use_the_token_up(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    """Whoever meddles with a call on its way cannot burn its token with a wrong one."""
    token = plane.control("GET", "/session")

    assert [(await call(client, token, path="/other"))[0], (await call(client, token))[0]] == [403, 200]


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    """It is not even read to its end."""
    body = b"x" * (BODY_BYTES + 1)

    assert await call(client, plane.control("POST", "/x", body), "POST", "/x", body) == (413, "too_large")


TURN_ROUTES = [
    ("GET", "/sandboxd/status"),
    ("GET", "/sandboxd/status?wait=5"),
    ("GET", "/sandboxd/health"),
    ("GET", "/sandboxd/events?after=5&generation=1"),
    ("POST", "/session/ses_1/prompt_async"),
    ("POST", "/session/ses_1/abort"),
    ("GET", "/session/status"),
    ("GET", "/session/ses_1"),
    ("GET", "/session/ses_1/message?limit=5"),
    ("GET", "/session/ses_1/message/msg_1"),
    ("POST", "/permission/per_1/reply"),
    ("POST", "/question/que_1/reply"),
    ("POST", "/question/que_1/reject"),
    ("POST", "/sandboxd/session"),
    ("DELETE", "/session/ses_1/message/msg_1"),
]
OTHER_ROUTES = [
    ("GET", "/sandboxd/hello"),
    ("POST", "/sandboxd/bind"),
    ("POST", "/sandboxd/stop"),
    ("POST", "/sandboxd/status"),
    ("GET", "/"),
    ("GET", "/session"),
    ("POST", "/session"),
    ("DELETE", "/session/ses_1"),
    ("DELETE", "/session/ses_1/message"),
    ("GET", "/sandboxd/session"),
    ("POST", "/session/ses_1/shell"),
    ("POST", "/session/ses_1/message"),
    ("POST", "/session/ses_1/prompt_async/"),
    ("POST", "/session/a/../prompt_async"),
    ("POST", "/session/a%2Fb/prompt_async"),
    ("POST", "//session/ses_1/prompt_async"),
    ("PUT", "/auth/openai"),
    ("PUT", "/sandboxd/providers/openai"),
    ("DELETE", "/sandboxd/providers/openai"),
    ("GET", "/config"),
    ("POST", "/instance/dispose"),
    ("GET", "/session/ses_1/message?directory=/etc"),
    ("GET", "/session/ses_1/message?%64irectory=/etc"),
    ("GET", "/session/ses_1?workspace"),
    ("GET", "/session/ses_1%0A"),
]


@pytest.mark.parametrize(("method", "path"), TURN_ROUTES)
async def test_a_turn_token_opens_its_routes_again_and_again(
    client: httpx.AsyncClient, plane: ControlPlane, method: str, path: str
) -> None:
    """It is bound to no single call."""
    token = plane.turn()

    assert [(await call(client, token, method, path))[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(("method", "path"), OTHER_ROUTES)
async def test_a_turn_token_opens_nothing_else(
    client: httpx.AsyncClient, plane: ControlPlane, method: str, path: str
) -> None:
    """The list is matched whole, on the path as it came."""
    assert await call(client, plane.turn(), method, path) == (403, "forbidden")


@pytest.mark.parametrize(("method", "path"), TURN_ROUTES[3:])
async def test_a_sign_in_token_opens_no_route_of_a_turn(
    client: httpx.AsyncClient, plane: ControlPlane, method: str, path: str
) -> None:
    """Scopes do not contain each other."""
    assert await call(client, plane.signin(), method, path) == (403, "forbidden")


SIGNIN_ROUTES = [
    ("POST", "/sandboxd/signin"),
    ("GET", "/sandboxd/signin/a-1?wait=50"),
    ("DELETE", "/sandboxd/signin/a-1"),
    ("GET", "/sandboxd/signin/a-1/tokens"),
    ("POST", "/sandboxd/signin/a-1/callback"),
    ("POST", "/sandboxd/signin/a-1/accept"),
    ("POST", "/sandboxd/signin/a-1/redirect"),
]


@pytest.mark.parametrize(("method", "path"), SIGNIN_ROUTES)
async def test_a_sign_in_token_opens_the_routes_of_a_sign_in(
    client: httpx.AsyncClient, plane: ControlPlane, method: str, path: str
) -> None:
    """And no turn's token does."""
    assert await call(client, plane.signin(), method, path) == (200, "")
    assert await call(client, plane.turn(), method, path) == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/sandboxd/providers/openai"),
        ("DELETE", "/sandboxd/providers/openai"),
        ("DELETE", "/sandboxd/providers/openai?version=1"),
        ("POST", "/sandboxd/signin/a-1/tokens"),
        ("PUT", "/auth/openai"),
        ("POST", "/provider/openai/oauth/authorize"),
        ("POST", "/provider/openai/oauth/callback"),
        ("POST", "/instance/dispose"),
        ("POST", "/sandboxd/signin/a-1/other"),
        ("POST", "/sandboxd/signin/a%2F1/accept"),
    ],
)
async def test_a_sign_in_token_opens_nothing_else(
    client: httpx.AsyncClient, plane: ControlPlane, method: str, path: str
) -> None:
    """OpenCode's own routes of a sign-in would go around its bounds; to disconnect takes a control call."""
    assert await call(client, plane.signin(), method, path) == (403, "forbidden")


@pytest.mark.parametrize("changes", [{"thread": "thread-2"}, {"gen": 0}, {"gen": 2}])
async def test_a_turn_token_of_another_thread_or_generation_is_forbidden(
    client: httpx.AsyncClient, plane: ControlPlane, changes: dict[str, object]
) -> None:
    """A task's address may be another thread's tomorrow."""
    assert await call(client, plane.turn(**changes), "GET", "/sandboxd/status") == (403, "forbidden")


async def test_before_bind_only_control_calls_pass(
    client: httpx.AsyncClient, plane: ControlPlane, binding: Binding
) -> None:
    """There is no thread yet that a use token could belong to; a control token may name any."""
    binding.thread_id = binding.generation = None
    control = plane.control("GET", "/sandboxd/hello", thread="thread-9", gen=7)

    assert await call(client, control, path="/sandboxd/hello") == (200, "")
    assert await call(client, plane.turn(), path="/sandboxd/status") == (403, "forbidden")


async def test_bind_itself_is_let_through_for_another_thread(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    """It answers 409, which says more than 403."""
    token = plane.control("POST", "/sandboxd/bind", b"{}", thread="thread-2")

    assert await call(client, token, "POST", "/sandboxd/bind", b"{}") == (200, "")
