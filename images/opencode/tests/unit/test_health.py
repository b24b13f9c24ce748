"""The health check, against what may listen there."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from harness import _QuietHandler, _serve

from sandboxd.health import answers, main

LOOPBACK = "127.0.0.1"


class Answering(_QuietHandler):
    status = 401
    body = b'{"code": "unauthorized", "message": "a valid call token is needed"}'

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)


def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = _serve(handler)
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "well"),
    [
        (401, Answering.body, True),
        (200, b"<html>", False),
        (401, b"[]", False),
        (401, b'{"code": "other"}', False),
        (500, Answering.body, False),
    ],
)
def test_only_the_gates_own_answer_is_a_sign_of_health(*, status: int, body: bytes, well: bool) -> None:
    """Whatever else answers there is not sandboxd."""
    handler = type("Handler", (Answering,), {"status": status, "body": body})
    for port in serving(handler):
        assert answers(LOOPBACK, port) is well


def test_silence_is_bounded() -> None:
    """A port that accepts and never answers, and one that nobody has, are not well."""
    with socket.create_server((LOOPBACK, 0)) as silent:
        port = silent.getsockname()[1]
        assert not answers(LOOPBACK, port, seconds=0.05)
    assert main(LOOPBACK, str(port)) == 1
