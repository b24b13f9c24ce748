"""
A crowd: many threads ask for a sandbox at once, and each gets one task.

``python -m bench.crowd COUNT`` runs sandbox_ctl as it is deployed, against the stack's own table and secrets, in one
process with a thread for each who asks. The tasks are scripted: ECS is one that knows of RunTask's client tokens, and
its tasks run at once; the sandboxd of all of them answers as whoever its call token is for. It prints what it found as
JSON.
"""

import asyncio
import base64
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from bench.results import Crowd
from local.stack.aws_clients import DUMMY, REGION, client
from local.stack.stack_file import StackFile

FUNCTION = "threadbox-sandbox-ctl"
ADDRESS, PORT = "127.77.77.77", 4096
PATIENCE_SECONDS = 120
LOOK_SECONDS = 0.2

Json = dict[str, Any]


class ScriptedEcs:
    """The operations on tasks; each client token is one task."""

    def __init__(self) -> None:
        self.tasks: dict[str, Json] = {}
        self._lock = threading.Lock()

    def answer(self, operation: str, request: Json) -> Json:
        """What ECS would answer."""
        if operation == "RunTask":
            with self._lock:
                arn = f"arn:aws:ecs:{REGION}:000000000000:task/crowd/{request['clientToken']}"
                task = self.tasks.setdefault(arn, _task(arn, request.get("startedBy", "")))
            return {"tasks": [task], "failures": []}
        if operation == "DescribeTasks":
            return {"tasks": [self.tasks[arn] for arn in request["tasks"] if arn in self.tasks], "failures": []}
        if operation == "ListTasks":
            return {"taskArns": list(self.tasks)}
        return {"task": {}}


def _task(arn: str, started_by: str) -> Json:
    details = [{"name": "privateIPv4Address", "value": ADDRESS}]
    return {
        "taskArn": arn,
        "startedBy": started_by,
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "attachments": [{"type": "ElasticNetworkInterface", "details": details}],
    }


def sandboxd(authorization: str, path: str) -> Json:
    """What the sandboxd that the call is for would answer."""
    part = authorization.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return {
        "task_arn": claims["aud"],
        "state": "unbound" if path == "/sandboxd/hello" else "ready",
        "thread_id": claims["thread"],
        "generation": claims["gen"],
        "session_id": "ses_crowd",
        "opencode_version": "scripted",
    }


@contextmanager
def serving(address: str, port: int, answer: Callable[[BaseHTTPRequestHandler, bytes], Json]) -> Iterator[str]:
    """Answer every call there with JSON; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            content = json.dumps(answer(self, body)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024

    server = Server((address, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{address}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def ask_at_once(count: int) -> Crowd:
    """Have *count* threads, each of a user of its own, ask at once until each has its sandbox."""
    ecs = ScriptedEcs()
    with ExitStack() as stack:
        stack.enter_context(serving(ADDRESS, PORT, lambda call, _: sandboxd(call.headers["authorization"], call.path)))
        os.environ["AWS_ENDPOINT_URL_ECS"] = stack.enter_context(
            serving("127.0.0.1", 0, lambda call, body: ecs.answer(_operation(call), json.loads(body)))
        )
        # Now that its environment is there: it builds its clients when it is imported.
        from sandbox_ctl import handler  # noqa: PLC0415
        from sandbox_ctl.operations import perform  # noqa: PLC0415

        names = [f"crowd-{uuid4().hex[:12]}" for _ in range(count)]
        for name in names:
            handler.threads.claim(name, user_id=f"of-{name}")
        gate = threading.Barrier(count)

        def ask(name: str) -> tuple[float, str]:
            gate.wait()
            began = time.perf_counter()
            while time.perf_counter() - began < PATIENCE_SECONDS:
                event = {"operation": "ensure", "thread_id": name, "scope": "signin"}
                reply = perform(handler.service, handler.resealing, event)
                if "starting" not in reply:
                    return time.perf_counter() - began, reply.get("error", {}).get("code", "")
                threading.Event().wait(LOOK_SECONDS)
            return PATIENCE_SECONDS, "late"

        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(ask, names))
        for name in names:
            handler.store.stopped(handler.service.get(name), reason="the bench is over")
    return Crowd(
        asked=count,
        tasks=len(ecs.tasks),
        errors=sum(bool(error) for _, error in answers),
        seconds=round(max(took for took, _ in answers), 2),
    )


def _operation(call: BaseHTTPRequestHandler) -> str:
    return str(call.headers["x-amz-target"]).rpartition(".")[2]


async def crowd(stack: StackFile, count: int) -> Crowd:
    """
    Let a crowd ask, in a process of its own.

    Raises:
        RuntimeError: it failed; with what it said last.
    """
    functions = client("lambda", stack.aws_url)
    configuration = await asyncio.to_thread(functions.get_function_configuration, FunctionName=FUNCTION)
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    ours = {
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_ACCESS_KEY_ID": DUMMY,
        "AWS_SECRET_ACCESS_KEY": DUMMY,
        "AWS_DEFAULT_REGION": REGION,
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.crowd", str(count),
        env=theirs | configuration["Environment"]["Variables"] | ours,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, errors = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the crowd failed: {errors.decode(errors='replace')[-500:]}")
    return Crowd.model_validate_json(said.decode().splitlines()[-1])


if __name__ == "__main__":
    print(ask_at_once(int(sys.argv[1])).model_dump_json())
