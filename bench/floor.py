"""
The floor: what the embedded AWS, and the gateway in front of it, cost themselves.

A stack of its own beside Threadbox's: a socket function that does nothing but invoke a second function, which does
nothing but post one frame back. Both have the same layer as Threadbox's functions, so the same boto3.
"""

import asyncio
import contextlib
import json
from time import perf_counter
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect

from local.stack.aws_clients import client
from local.stack.stack_file import StackFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STACK = "bench-floor"
API = "bench-floor"
LIKE = "threadbox-chat-turn"
"""The function whose runtime and layer these have."""
SECONDS = 30

SOCKET = """
import json, os
import boto3
client = boto3.client("lambda")
def handler(event, context):
    asked = event["requestContext"]
    if asked["routeKey"] == "$default":
        payload = json.dumps({"connection_id": asked["connectionId"]})
        client.invoke(FunctionName=os.environ["POSTER"], InvocationType="Event", Payload=payload)
    return {"statusCode": 200}
"""
POSTER = """
import os
import boto3
client = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["CONNECTIONS_URL"])
def handler(event, context):
    client.post_to_connection(ConnectionId=event["connection_id"], Data=b"{}")
"""


class Floor:
    """A socket of the empty stack."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, stack: StackFile) -> "AsyncIterator[Floor]":
        """Deploy the empty stack into the embedded AWS and open a socket; it goes with the embedded AWS."""
        address = f"127.0.0.1:{stack.ports['gateway']}/_aws/execute-api/{API}/live"
        await asyncio.to_thread(_deploy, stack.aws_url, f"http://{address}")
        async with connect(f"ws://{address}") as socket:
            yield cls(socket)

    async def turn(self) -> float:
        """Send a frame, wait for the one that comes back; the seconds in between."""
        start = perf_counter()
        async with asyncio.timeout(SECONDS):
            await self._socket.send("{}")
            await self._socket.recv()
        return perf_counter() - start


def _deploy(aws_url: str, connections_url: str) -> None:
    like = client("lambda", aws_url).get_function_configuration(FunctionName=LIKE)
    cloudformation = client("cloudformation", aws_url)
    cloudformation.create_stack(StackName=STACK, TemplateBody=json.dumps(template(like, connections_url)))
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": SECONDS})


def template(like: dict[str, Any], connections_url: str) -> dict[str, Any]:
    """The empty stack, whose functions have the runtime and the layer of the function *like*."""
    routes = {"Connect": "$connect", "Disconnect": "$disconnect", "Default": "$default"}
    api = {"Ref": "Api"}
    return {
        "Resources": {
            "Poster": _function(f"{STACK}-poster", POSTER, like, {"CONNECTIONS_URL": connections_url}),
            "Socket": _function(f"{STACK}-socket", SOCKET, like, {"POSTER": f"{STACK}-poster"}),
            "Api": {
                "Type": "AWS::ApiGatewayV2::Api",
                "Properties": {
                    "Name": API,
                    "ProtocolType": "WEBSOCKET",
                    "RouteSelectionExpression": "$request.body.type",
                    "Tags": {"ms-custom-id": API},
                },
            },
            "Stage": {
                "Type": "AWS::ApiGatewayV2::Stage",
                "Properties": {"ApiId": api, "StageName": "live", "AutoDeploy": True},
            },
            "Integration": {
                "Type": "AWS::ApiGatewayV2::Integration",
                "Properties": {
                    "ApiId": api,
                    "IntegrationType": "AWS_PROXY",
                    "IntegrationUri": {
                        "Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/"
                        "${Socket.Arn}/invocations"
                    },
                },
            },
            **{
                f"{name}Route": {
                    "Type": "AWS::ApiGatewayV2::Route",
                    "Properties": {
                        "ApiId": api,
                        "RouteKey": key,
                        "Target": {"Fn::Sub": "integrations/${Integration}"},
                    },
                }
                for name, key in routes.items()
            },
        }
    }


def _function(name: str, code: str, like: dict[str, Any], variables: dict[str, str]) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": name,
            "Runtime": like["Runtime"],
            "Handler": "index.handler",
            "Role": like["Role"],
            "Timeout": SECONDS,
            "MemorySize": like["MemorySize"],
            "Layers": [layer["Arn"] for layer in like.get("Layers", [])],
            "Code": {"ZipFile": code},
            "Environment": {"Variables": variables},
        },
    }
