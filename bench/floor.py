"""
The floor: what the embedded AWS, and the gateway in front of it, take themselves.

A stack of its own beside Threadbox's, of functions with the same layer, so the same boto3. Two of them do nothing but
hand a frame on: a socket function that invokes a second function, which posts one back. Asked to, they and a third one
make the calls besides that a warm turn makes on the way to its first delta: the same operations in the same order,
those side by side that are so there, on items of their own. The sandbox is not among them.
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
TABLE_KEY = {"thread_id": "HASH", "sk": "RANGE"}
API = "bench-floor"
LIKE = "threadbox-chat-turn"
"""The function whose runtime and layer these have."""
SECONDS = 30

SOCKET = """
import json, os
import boto3
invoker = boto3.client("lambda")
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
def key(sk):
    return {"thread_id": "floor", "sk": sk}
def handler(event, context):
    asked = event["requestContext"]
    if asked["routeKey"] == "$default":
        calls = json.loads(event["body"])["calls"]
        if calls:
            table.get_item(Key=key("SOCK"), ConsistentRead=True)
            one = {":one": 1}
            answer = table.update_item(
                Key=key("META"), UpdateExpression="ADD messages :one", ExpressionAttributeValues=one,
                ReturnValues="UPDATED_NEW",
            )
            number = int(answer["Attributes"]["messages"])
            puts = [key(f"MSG#{number}"), key(f"MSGID#{number}"), key(f"TURN#{number}"), key("RUNNING")]
            update = {"Key": key("TURN"), "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": one}
            writes = [{"Put": {"TableName": table.name, "Item": put}} for put in puts]
            table.meta.client.transact_write_items(
                TransactItems=[*writes, {"Update": {"TableName": table.name, **update}}]
            )
        payload = json.dumps({"connection_id": asked["connectionId"], "calls": calls})
        invoker.invoke(FunctionName=os.environ["NEXT"], InvocationType="Event", Payload=payload)
    return {"statusCode": 200}
"""
POSTER = """
import os
from concurrent.futures import ThreadPoolExecutor
import boto3
from boto3.dynamodb.conditions import Key
invoker = boto3.client("lambda")
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
client = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["CONNECTIONS_URL"])
threads = ThreadPoolExecutor(3)
def key(sk):
    return {"thread_id": "floor", "sk": sk}
def sockets():
    return table.query(
        KeyConditionExpression=Key("thread_id").eq("floor") & Key("sk").begins_with("SOCK"), ConsistentRead=True
    )
def question():
    return table.get_item(Key=key("MSG#1"), ConsistentRead=True)
def sandbox():
    return invoker.invoke(FunctionName=os.environ["NEXT"], Payload=b"{}")["Payload"].read()
def handler(event, context):
    if event["calls"]:
        table.update_item(
            Key=key("TURN"), UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": 1},
            ReturnValues="ALL_NEW",
        )
        for call in [threads.submit(each) for each in (sockets, question, sandbox)]:
            call.result()
    client.post_to_connection(ConnectionId=event["connection_id"], Data=b"{}")
"""
READER = """
import os
import boto3
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
def handler(event, context):
    keys = [{"thread_id": "floor", "sk": sk} for sk in ("SANDBOX", "META")]
    table.meta.client.batch_get_item(RequestItems={table.name: {"Keys": keys, "ConsistentRead": True}})
    table.get_item(Key={"thread_id": "floor", "sk": "GRANT"}, ConsistentRead=True)
    # An invoke waits for a log that is empty.
    print("read")
    return {}
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

    async def turn(self, *, calls: bool = False) -> float:
        """Send a frame, wait for the one that comes back; the seconds in between. With or without a turn's *calls*."""
        start = perf_counter()
        async with asyncio.timeout(SECONDS):
            await self._socket.send(json.dumps({"calls": calls}))
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
            "Table": {
                "Type": "AWS::DynamoDB::Table",
                "Properties": {
                    "TableName": STACK,
                    "BillingMode": "PAY_PER_REQUEST",
                    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in TABLE_KEY],
                    "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in TABLE_KEY.items()],
                },
            },
            "Reader": _function("reader", READER, like),
            "Poster": _function("poster", POSTER, like, next_one="reader", connections_url=connections_url),
            "Socket": _function("socket", SOCKET, like, next_one="poster"),
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


def _function(
    name: str, code: str, like: dict[str, Any], *, next_one: str = "", connections_url: str = ""
) -> dict[str, Any]:
    variables = {"TABLE": STACK, "NEXT": f"{STACK}-{next_one}", "CONNECTIONS_URL": connections_url}
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": f"{STACK}-{name}",
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
