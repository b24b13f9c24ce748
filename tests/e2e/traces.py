"""Everything that a stack has written somewhere, to be searched for what must not be there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from local.stack.aws_clients import client
from local.stack.layout import Layout
from local.stack.stack_file import StackFile

Place = tuple[str, bytes]


def found(pattern: re.Pattern[bytes], places: Iterator[Place]) -> set[str]:
    """Return the names of the places that have it."""
    return {name for name, content in places if pattern.search(content)}


def everything(stack: StackFile, layout: Layout) -> Iterator[Place]:
    """Yield what lies in files (logs and the sandboxes' disks among them), in the embedded AWS and in environments."""
    yield from _files(layout)
    yield from _environments(layout)
    yield from _table(stack)
    yield from _logs(stack)
    yield from _executions(stack)
    yield from _tasks(stack)
    yield from _objects(stack)
    yield from _functions(stack)


def _files(layout: Layout) -> Iterator[Place]:
    for path in layout.state.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield f"file {path.relative_to(layout.state)}", path.read_bytes()


def _environments(layout: Layout) -> Iterator[Place]:
    ((name, value),) = layout.mark.items()
    mark = f"{name}={value}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (path / "environ").read_bytes(), (path / "cmdline").read_bytes()
        except OSError:
            continue
        if mark in environment or str(layout.sandboxes).encode() in environment:
            yield f"process {command[:80]!r}", environment + command


def _table(stack: StackFile) -> Iterator[Place]:
    table = boto3.resource("dynamodb", endpoint_url=stack.aws_url).Table(stack.outputs["TableName"])
    page = table.scan()
    while True:
        for item in page["Items"]:
            yield f"item {item['thread_id']} {item['sk']}", _bytes(item)
        if "LastEvaluatedKey" not in page:
            return
        page = table.scan(ExclusiveStartKey=page["LastEvaluatedKey"])


def _logs(stack: StackFile) -> Iterator[Place]:
    logs = client("logs", stack.aws_url)
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            for event in page["events"]:
                yield f"log {group['logGroupName']}", event["message"].encode()


def _executions(stack: StackFile) -> Iterator[Place]:
    machine = client("stepfunctions", stack.aws_url)
    for execution in machine.list_executions(stateMachineArn=stack.outputs["SigninMachineArn"])["executions"]:
        arn = execution["executionArn"]
        history = machine.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        yield f"execution {execution['name']}", _bytes([history, machine.describe_execution(executionArn=arn)])


def _tasks(stack: StackFile) -> Iterator[Place]:
    ecs = client("ecs", f"http://127.0.0.1:{stack.ports['ecs']}")
    cluster = stack.outputs["ClusterArn"]
    for status in ("RUNNING", "STOPPED"):
        for task in ecs.list_tasks(cluster=cluster, desiredStatus=status)["taskArns"]:
            yield f"task {task}", _bytes(ecs.describe_tasks(cluster=cluster, tasks=[task])["tasks"])


def _objects(stack: StackFile) -> Iterator[Place]:
    s3 = client("s3", stack.aws_url)
    for bucket in s3.list_buckets()["Buckets"]:
        for listed in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            body = s3.get_object(Bucket=bucket["Name"], Key=listed["Key"])["Body"]
            yield f"object {bucket['Name']}/{listed['Key']}", body.read()


def _functions(stack: StackFile) -> Iterator[Place]:
    for function in client("lambda", stack.aws_url).list_functions()["Functions"]:
        yield f"function {function['FunctionName']}", _bytes(function)


def _bytes(value: Any) -> bytes:
    return json.dumps(value, default=lambda other: str(bytes(getattr(other, "value", b"")) or other)).encode()
