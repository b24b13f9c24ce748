"""``make status``: what runs where."""

from collections.abc import Callable, Iterable
from typing import Any

from local.stack import parts
from local.stack.aws_clients import client
from local.stack.layout import Layout
from local.stack.processes import Processes
from local.stack.stack_file import StackFile

NAMES = {
    "aws": "embedded AWS", "gateway": "WebSocket gateway", "edge": "edge", "ecs": "local ECS", "model": "demo model",
    "idp": "identity provider", "web": "page",
}  # fmt: skip


def status(layout: Layout, say: Callable[[str], None]) -> bool:
    """Say what runs; whether the whole stack does."""
    running = Processes(layout).running()
    file = StackFile.find(layout.stack_file)
    rows = [("part", "pid", "port", "state")]
    for part in reversed(parts.STOP_ORDER):
        found = running.get(part)
        rows.append((NAMES[part], str(found.pid), str(found.port), "running") if found else (NAMES[part], "", "", "-"))
    _say_table(rows, say)
    if file is None:
        say("\nThe stack is not up.")
        return False
    if {"aws", "ecs"} <= running.keys():
        threads = threads_by_task(file)
        rows = [("sandbox", "thread", "address", "state")]
        for task in sandboxes(file):
            arn = task["taskArn"]
            rows.append((arn.rpartition("/")[2], threads.get(arn, "-"), address(task), task["lastStatus"]))
        say("")
        _say_table(rows if len(rows) > 1 else [("no sandbox",)], say)
    say(
        f"\npage: {file.web_url}\nHTTP: {file.http_url}\nWebSocket: {file.ws_url}\nboth at one address: {file.edge_url}"
    )
    wanted = {"aws", "gateway", "edge", "ecs", "web"}
    if file.idp_url is not None:
        say(f"identity provider: {file.idp_url}")
        wanted.add("idp")
    return wanted <= running.keys()


def sandboxes(file: StackFile) -> list[dict[str, Any]]:
    """The tasks that run or are on their way, as ECS describes them."""
    ecs = client("ecs", f"http://127.0.0.1:{file.ports['ecs']}")
    cluster = file.outputs["ClusterArn"]
    pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster)
    tasks: list[dict[str, Any]] = []
    for page in pages:
        if page["taskArns"]:
            tasks += ecs.describe_tasks(cluster=cluster, tasks=page["taskArns"])["tasks"]
    return tasks


def threads_by_task(file: StackFile) -> dict[str, str]:
    """Whose sandbox a task is, as the table tells it."""
    pages = (
        client("dynamodb", file.aws_url)
        .get_paginator("scan")
        .paginate(
            TableName=file.outputs["TableName"],
            FilterExpression="sk = :sandbox AND attribute_exists(task_arn)",
            ExpressionAttributeValues={":sandbox": {"S": "SANDBOX"}},
        )
    )
    return {item["task_arn"]["S"]: item["thread_id"]["S"] for page in pages for item in page["Items"]}


def address(task: dict[str, Any]) -> str:
    """The private address of a task."""
    details = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
    return str(details["privateIPv4Address"])


def _say_table(rows: Iterable[tuple[str, ...]], say: Callable[[str], None]) -> None:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
