"""Posts to open sockets: what the gateway says of them, in our words."""

import socket

import pytest

from tests.gateways import gateway
from threadbox.connections import ConnectionsClient
from threadbox.errors import RateLimitedError


def test_frame_arrives_and_a_closed_connection_is_gone():
    """Posted, closed from our side, and gone from then on."""
    with gateway() as running, running.connect() as tab:
        connections = ConnectionsClient.of(f"http://{running.address}")
        connection_id = running.connection_id()

        assert connections.post(connection_id, '{"text": "größer"}') is True
        assert '{"text": "größer"}' == tab.recv(timeout=10)
        assert connections.close(connection_id) is True
        assert (connections.post(connection_id, "{}"), connections.close(connection_id)) == (False, False)


def test_frame_that_is_not_taken_may_be_tried_again():
    """Too large for the gateway, or nobody there: the connection may still be; closing is left to its limits."""
    with gateway() as running, running.connect():
        connections = ConnectionsClient.of(f"http://{running.address}")
        with pytest.raises(RateLimitedError):
            connections.post(running.connection_id(), "x" * 200_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    nowhere = ConnectionsClient.of(f"http://127.0.0.1:{port}/live")
    with pytest.raises(RateLimitedError):
        nowhere.post("c", "{}")
    assert nowhere.close("c") is True
