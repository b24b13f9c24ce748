"""What the gateway tells functions, against events that functions on AWS have logged."""

import asyncio

import pytest
from starlette.datastructures import Headers, QueryParams

from local.gateway.apis import Api, Apis
from local.gateway.connections import Close, Connection, Identity
from local.gateway.disorder import Disorder
from local.gateway.errors import ForbiddenError
from local.gateway.events import Events
from tests.gateways import API, STAGE, ApiGatewayV2

CONTEXT = {
    "routeKey", "eventType", "extendedRequestId", "requestTime", "messageDirection", "stage", "connectedAt",
    "requestTimeEpoch", "identity", "requestId", "domainName", "connectionId", "apiId",
}  # fmt: skip


@pytest.fixture
def events(clock):
    async def make() -> Events:
        identity = Identity("123.45.123.45", "curl")
        connection = Connection(api_id=API, stage=STAGE, identity=identity, buffer_bytes=9, now=clock)
        return Events(connection=connection, domain="host:1", now=clock)

    return asyncio.run(make())


def test_a_handshake_has_headers_and_a_query_string(events):
    """
    Header names in their usual case, without those of the hop; the last value of a parameter that comes twice.
    """
    headers = Headers({"host": "host:1", "sec-websocket-key": "k", "upgrade": "websocket", "connection": "upgrade"})

    event = events.connect(headers, QueryParams("thread=a&thread=b&token=t"))

    assert set(event) == {
        "headers", "multiValueHeaders", "queryStringParameters", "multiValueQueryStringParameters", "requestContext",
        "isBase64Encoded",
    }  # fmt: skip
    assert set(event["headers"]) == {
        "Host", "Sec-WebSocket-Key", "X-Amzn-Trace-Id", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto",
    }  # fmt: skip
    assert event["multiValueHeaders"]["Sec-WebSocket-Key"] == ["k"]
    assert event["queryStringParameters"] == {"thread": "b", "token": "t"}
    assert event["multiValueQueryStringParameters"] == {"thread": ["a", "b"], "token": ["t"]}
    assert set(event["requestContext"]) == CONTEXT
    assert event["requestContext"]["identity"] == {"sourceIp": "123.45.123.45", "userAgent": "curl"}


def test_a_handshake_without_a_query_string_does_not_mention_it(events):
    """
    The names are missing, not null.
    """
    assert set(events.connect(Headers({"host": "h"}), QueryParams(""))) == {
        "headers", "multiValueHeaders", "requestContext", "isBase64Encoded",
    }  # fmt: skip


def test_a_message_has_a_body_and_an_id_but_no_headers(events):
    """
    Who connected is known by the connection's id only.
    """
    event = events.message("$default", "hello")

    assert set(event) == {"requestContext", "body", "isBase64Encoded"}
    assert set(event["requestContext"]) == CONTEXT | {"messageId"}
    assert event["body"] == "hello"
    assert event["requestContext"]["requestTime"] == "15/Jan/2027:08:00:00 +0000"
    assert event["requestContext"]["connectedAt"] == 1_800_000_000_000


def test_an_end_tells_how_it_came(events):
    """
    The code of the close frame, and AWS's words when the client had none.
    """
    event = events.disconnect(Close(1005, "", by_client=True))

    assert set(event) == {"headers", "multiValueHeaders", "requestContext", "isBase64Encoded"}
    assert event["headers"] == {"Host": "host:1", "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}
    assert set(event["requestContext"]) == CONTEXT | {"disconnectStatusCode", "disconnectReason"}
    assert event["requestContext"]["disconnectStatusCode"] == 1005
    assert event["requestContext"]["disconnectReason"] == "Client-side close frame status not set"


@pytest.mark.parametrize(
    ("selection", "message", "route"),
    [
        ("$request.body.type", '{"type":"ask"}', "ask"),
        ("${request.body.type}", '{"type":"ask"}', "ask"),
        ("$request.body.a.b", '{"a":{"b":"ask"}}', "ask"),
        ("$request.body.a.b", '{"a":"ask"}', "$default"),
        ("$request.body.type", '{"type":"unheard"}', "$default"),
        ("$request.body.type", '{"type":5}', "$default"),
        ("$request.body.type", "ask", "$default"),
        ("$request.body.type", '["ask"]', "$default"),
    ],
)
def test_the_route_follows_from_the_body(selection, message, route):
    """
    What the route selection expression names, if there is such a route.
    """
    api = Api(api_id=API, stages=frozenset({STAGE}), selection=selection, functions={"ask": "f", "$default": "f"})

    assert api.route_of(message) == route


def test_an_api_is_read_with_its_functions():
    """
    The function's name is inside the integration's address.
    """
    api = asyncio.run(Apis(ApiGatewayV2("$connect", "ask")).get(API, STAGE))

    assert api.functions == {"$connect": "socket", "ask": "socket"}


@pytest.mark.parametrize(("api_id", "stage"), [("other", STAGE), (API, "other")])
def test_what_is_not_deployed_is_forbidden(api_id, stage):
    """
    As AWS answers a stage that does not exist.
    """
    with pytest.raises(ForbiddenError):
        asyncio.run(Apis(ApiGatewayV2()).get(api_id, stage))


def test_disorder_follows_from_its_seed():
    """
    The same seed gives the events of each socket the same pauses, another seed others.
    """

    async def pauses(seed: int) -> list[float]:
        taken: list[float] = []

        async def sleep(seconds: float) -> None:
            taken.append(seconds)

        disorder = Disorder(seed, spread=2, sleep=sleep)
        for place in (disorder(), disorder()):
            for _ in range(3):
                async with place():
                    pass
        return taken

    first = asyncio.run(pauses(7))
    assert first == asyncio.run(pauses(7))
    assert first != asyncio.run(pauses(8))
    assert len(set(first)) == 6
    assert all(0 <= pause <= 2 for pause in first)
