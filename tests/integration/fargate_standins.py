"""What the tests of the local ECS put in the places of sandboxd and of the embedded AWS."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

SANDBOXD = '''
"""Tells what a process in the sandbox sees, and ends when asked to."""
import json, os, signal, subprocess, sys, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

if "EXIT_AT_ONCE" in os.environ:
    print("ended at once")
    sys.exit(int(os.environ["EXIT_AT_ONCE"]))
if "IGNORE_SIGTERM" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
child = subprocess.Popen(["sleep", "1000"])
agent = os.environ.get("SANDBOXD_AGENT_UID")

def as_agent(*command):
    options = {"user": int(agent), "group": int(agent), "extra_groups": []} if agent else {}
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return done.stdout.strip() or str(done.returncode)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/exit/"):
            print("asked to end", flush=True)
            os._exit(int(self.path.rpartition("/")[2]))
        with urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task") as answer:
            metadata = json.load(answer)
        facts = {
            "environment": dict(os.environ), "root": sorted(os.listdir("/")), "uid": os.getuid(), "metadata": metadata,
            "agent": as_agent("id", "-un"), "opencode": as_agent(os.environ["SANDBOXD_OPENCODE"]),
            "authority": as_agent("cat", os.environ["NODE_EXTRA_CA_CERTS"]),
            "writes": as_agent("sh", "-c", "cd $0 && echo written > f && cat f", os.environ["SANDBOXD_WORKSPACE"]),
            "capabilities": [line for line in open("/proc/self/status") if line.startswith("CapEff")],
            "pids": [name for name in os.listdir("/proc") if name.isdigit()],
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(facts).encode())
    def log_message(self, *_):
        pass

HTTPServer((os.environ["SANDBOXD_HOST"], int(os.environ["SANDBOXD_PORT"])), Handler).serve_forever()
'''

TASK_DEFINITION = {
    "taskDefinitionArn": "arn:aws:ecs:us-east-1:000000000000:task-definition/sandbox:7",
    "family": "sandbox",
    "cpu": "1024",
    "memory": "2048",
    "containerDefinitions": [
        {"name": "sandboxd", "environment": [{"name": "FROM_DEFINITION", "value": "yes"}], "stopTimeout": 1}
    ],
}


class FakeAws:
    """Knows one task definition and writes down the events it is told, after refusing as many as it was told to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.refusals = 0
        self.arrived = threading.Condition()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                operation = self.headers["x-amz-target"].rpartition(".")[2]
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, answer = fake.answer(operation, request)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, operation: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and body that AWS would answer."""
        if operation == "DescribeTaskDefinition":
            known = request["taskDefinition"] in {"sandbox", TASK_DEFINITION["taskDefinitionArn"]}
            return (200, {"taskDefinition": TASK_DEFINITION}) if known else (400, {"__type": "ClientException"})
        if operation == "DescribeClusters":
            return 200, {"clusters": [{"clusterName": "passed-on"}], "failures": []}
        with self.arrived:
            if self.refusals:
                self.refusals -= 1
                return 500, {"__type": "InternalException"}
            self.events += request["Entries"]
            self.arrived.notify_all()
            return 200, {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    def statuses(self, arn: str) -> list[str]:
        """What was told of a task, in the order in which it arrived."""
        return [json.loads(event["Detail"])["lastStatus"] for event in self.events if event["Resources"] == [arn]]

    def wait_for(self, arn: str, status: str) -> dict[str, Any]:
        """The event that tells of that status of that task; waits at most 20 s."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: status in self.statuses(arn), timeout=20), self.statuses(arn)
        details = (json.loads(event["Detail"]) for event in self.events if event["Resources"] == [arn])
        return next(detail for detail in details if detail["lastStatus"] == status)
