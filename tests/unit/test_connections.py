"""Posts to open sockets: what the gateway says of them, in our words."""

import socket
from types import SimpleNamespace

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError

from tests.gateways import gateway
from threadbox.connections import ConnectionsClient
from threadbox.errors import RateLimitedError

URL = "https://abc.execute-api.us-east-1.amazonaws.com/live"


class Scripted:
    """What sends, and is told how each goes: a status, or an error."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.sent = []

    def send(self, request):
        self.sent.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return SimpleNamespace(status_code=outcome)


def client(*outcomes):
    known = ConnectionsClient.of(URL)
    return ConnectionsClient(url=URL, credentials=known.credentials, region=known.region, http=Scripted(*outcomes))


def test_frame_arrives_and_a_closed_connection_is_gone():
    """Through the gateway: posted, closed from our side, and gone from then on."""
    with gateway() as running, running.connect() as tab:
        connections = ConnectionsClient.of(f"http://{running.address}")
        connection_id = running.connection_id()

        assert connections.post(connection_id, '{"text": "größer"}') is True
        assert '{"text": "größer"}' == tab.recv(timeout=10)
        assert connections.close(connection_id) is True
        assert (connections.post(connection_id, "{}"), connections.close(connection_id)) == (False, False)


def test_request_is_the_one_that_boto3_makes():
    """Same method, address and body; signed for the same service, region and headers."""
    seen = []

    def capture(request, **_):
        seen.append(request)
        raise HTTPClientError(error="captured")

    once = Config(retries={"total_max_attempts": 1})
    theirs = boto3.client("apigatewaymanagementapi", endpoint_url=URL, config=once)
    theirs.meta.events.register("before-send.apigatewaymanagementapi.PostToConnection", capture)
    with pytest.raises(HTTPClientError):
        theirs.post_to_connection(ConnectionId="Ab_-1+/=", Data=b"{}")
    connections = client(200)
    connections.post("Ab_-1+/=", "{}")
    (expected,), (made,) = seen, connections.http.sent

    assert (expected.method, expected.url, expected.body) == (made.method, made.url, made.body)
    for request in (expected, made):
        signed = str(request.headers["Authorization"])
        assert "/us-east-1/execute-api/aws4_request" in signed
        assert "host;x-amz-date" in signed


@pytest.mark.parametrize("outcome", [429, 500, 413, 403, ReadTimeoutError(endpoint_url=URL)])
def test_frame_that_is_not_taken_may_be_tried_again(outcome):
    """Whatever the reason, the connection may still be there."""
    with pytest.raises(RateLimitedError):
        client(outcome).post("c", "{}")


def test_closing_leaves_a_failure_to_the_connections_limits():
    """It is not known to be gone, and ends by itself after two hours."""
    assert client(500).close("c") is True
    assert client(ReadTimeoutError(endpoint_url=URL)).close("c") is True


def test_connection_that_was_kept_and_is_closed_is_opened_anew():
    """Once: what is closed again is an error."""
    closed = ConnectionClosedError(endpoint_url=URL)

    assert client(closed, 200).post("c", "{}") is True
    with pytest.raises(RateLimitedError):
        client(closed, closed).post("c", "{}")


def test_nobody_listens():
    """As on any other day: may be tried again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RateLimitedError):
        ConnectionsClient.of(f"http://127.0.0.1:{port}/live").post("c", "{}")
