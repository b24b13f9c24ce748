"""The gateway in front of functions that the embedded AWS runs."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from local.stack.aws_clients import client
from local.stack.stack_file import StackFile
from tests.stacks import ROOT
from tests.waiting import eventually

SECONDS = 30
LIKE = "threadbox-chat-turn"
"""The function whose runtime and layer the test's function has."""

FUNCTION = """
import json, os, threading
import boto3

def handler(event, context):
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(json.dumps(event) + "\\n")
    asked = event["requestContext"]
    if asked["routeKey"] == "$connect":
        return {"statusCode": int((event.get("queryStringParameters") or {}).get("status", 200))}
    if asked["routeKey"] == "post":
        text = json.loads(event["body"])["text"]
        url = "http://{domainName}/_aws/execute-api/{apiId}/{stage}".format(**asked)
        posts = boto3.client("apigatewaymanagementapi", endpoint_url=url)
        posts.post_to_connection(ConnectionId=asked["connectionId"], Data=text.encode())
    if asked["routeKey"] == "raise":
        raise RuntimeError("secret")
    if asked["routeKey"] == "think":
        threading.Event().wait(10)
    return {"statusCode": 200, "body": "for nobody"}
"""


class Deployed:
    """The function and its API in the embedded AWS, and gateways in front of it."""

    def __init__(self, aws_url: str, api_id: str, journal: Path) -> None:
        self._aws_url = aws_url
        self._api_id = api_id
        self._journal = journal

    def events(self, kind: str) -> list[dict]:
        """Those that the function got, of that type."""
        events = [json.loads(line) for line in self._journal.read_text().splitlines()]
        return [event for event in events if event["requestContext"]["eventType"] == kind]

    @contextmanager
    def gateway(self, *options: str) -> Iterator[str]:
        """A gateway's address, without scheme."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "local.gateway", "--port", str(port), "--aws", self._aws_url, *options]
        process = subprocess.Popen(command, cwd=ROOT, env={"PATH": os.environ["PATH"]})
        try:
            eventually(lambda: answers(f"http://127.0.0.1:{port}/_local/health"))
            yield f"127.0.0.1:{port}/_aws/execute-api/{self._api_id}/live"
        finally:
            process.terminate()
            assert process.wait(timeout=20) in {0, -signal.SIGTERM}


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def zipped(source: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("index.py", source)
    return packed.getvalue()


@pytest.fixture(scope="module")
def deployed(stack: StackFile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    functions, apis = client("lambda", stack.aws_url), client("apigatewayv2", stack.aws_url)
    journal = tmp_path_factory.mktemp("gateway") / "events"
    like = functions.get_function_configuration(FunctionName=LIKE)
    name = f"test-gateway-{os.getpid()}"

    arn = functions.create_function(
        FunctionName=name,
        Runtime=like["Runtime"],
        Role=like["Role"],
        Handler="index.handler",
        Layers=[layer["Arn"] for layer in like["Layers"]],
        Timeout=30,
        Code={"ZipFile": zipped(FUNCTION)},
        Environment={"Variables": {"JOURNAL": str(journal)}},
    )["FunctionArn"]
    api_id = apis.create_api(Name=name, ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.type")[
        "ApiId"
    ]
    integration = apis.create_integration(
        ApiId=api_id,
        IntegrationType="AWS_PROXY",
        IntegrationUri=f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations",
    )["IntegrationId"]
    for key in ("$connect", "$disconnect", "$default", "post", "raise", "think"):
        apis.create_route(ApiId=api_id, RouteKey=key, Target=f"integrations/{integration}")
    apis.create_stage(ApiId=api_id, StageName="live", AutoDeploy=True)

    yield Deployed(stack.aws_url, api_id, journal)
    apis.delete_api(ApiId=api_id)
    with suppress(functions.exceptions.ResourceNotFoundException):
        # Slow while a worker is busy, so that boto3 asks again.
        functions.delete_function(FunctionName=name)


@pytest.fixture(scope="module")
def address(deployed: Deployed) -> Iterator[str]:
    with deployed.gateway() as address:
        yield address


def open_socket(address: str, query: str = "") -> ClientConnection:
    return connect(f"ws://{address}{query}", open_timeout=SECONDS)


def ask(kind: str, **more: str) -> str:
    return json.dumps({"type": kind, **more})


def test_a_function_answers_through_the_gateway(deployed: Deployed, address: str) -> None:
    """
    It gets the event of the route that the message names, and what it posts with boto3 reaches the client.
    """
    with open_socket(address, "?thread=t&token=k") as tab:
        tab.send(ask("post", text="hello ✓"))
        assert tab.recv(timeout=SECONDS) == "hello ✓"

    connected, asked = deployed.events("CONNECT")[-1], deployed.events("MESSAGE")[-1]
    assert connected["queryStringParameters"] == {"thread": "t", "token": "k"}
    assert asked["requestContext"]["routeKey"] == "post"
    assert asked["requestContext"]["connectionId"] == connected["requestContext"]["connectionId"]
    (left,) = eventually(lambda: deployed.events("DISCONNECT"))
    assert left["requestContext"]["disconnectStatusCode"] == 1000


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_function_refuses_a_handshake(address: str, status: int) -> None:
    """
    By its status.
    """
    with pytest.raises(InvalidStatus) as caught:
        open_socket(address, f"?status={status}")

    assert caught.value.response.status_code == status


def test_a_function_that_fails_or_thinks_too_long_is_told(deployed: Deployed, address: str) -> None:
    """
    In AWS's words, without the function's own.
    """
    assert address
    with deployed.gateway("--integration-seconds", "3") as impatient, open_socket(impatient) as tab:
        tab.send(ask("raise"))
        assert json.loads(tab.recv(timeout=SECONDS))["message"] == "Internal server error"
        tab.send(ask("think"))
        assert json.loads(tab.recv(timeout=SECONDS))["message"] == "Endpoint request timed out"


def test_disorder_lets_messages_overtake_each_other(address: str) -> None:
    """
    The embedded AWS runs them in parallel then, in an order that the seed gives.
    """
    texts = [str(number) for number in range(6)]
    shuffled = address.replace("/", "/_with/disorder=3&disorder_seconds=4/", 1)
    with open_socket(shuffled) as tab:
        for text in texts:
            tab.send(ask("post", text=text))
        came = [tab.recv(timeout=SECONDS) for _ in texts]

    assert sorted(came) == texts
    assert came != texts


def test_the_real_socket_function_refuses_a_bad_token(stack: StackFile, deployed: Deployed) -> None:
    """
    The page's socket, at a gateway of its own: 401 at the handshake.
    """
    with deployed.gateway() as address:
        port = address.partition("/")[0]
        real = f"{port}/_aws/execute-api/{stack.outputs['WebSocketApiId']}/live"
        with pytest.raises(InvalidStatus) as caught:
            open_socket(real, "?thread=t&token=bad")

    assert caught.value.response.status_code == 401
