"""The handlers as Lambda has them: composed of the template, on moto, with what moto lacks answered here."""

import importlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote

import boto3
from botocore.awsrequest import AWSResponse

Handler = Callable[[dict[str, Any], Any], Any]
PACKAGES = ("chat.handler", "oauth_proxy.handler", "sandbox_ctl.handler")
TASK = "arn:aws:ecs:us-east-1:123456789012:task/threadbox-dev/0a1b2c3d4e5f60718293a4b5c6d7e8f9"
FLAGS = {"sandboxes": {"default": True}, "sandboxes_stopped": {"default": False}}
CONTEXT = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb=1024,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:f",
    aws_request_id="1b2c3d4e",
    get_remaining_time_in_millis=lambda: 60_000,
)


def variables(template: dict, function: str, **own: str) -> dict[str, str]:
    """What the template gives the function: its parameters' defaults, and *own* in place of what is made on AWS."""
    common = template["Globals"]["Function"]["Environment"]["Variables"]
    given = common | template["Resources"][function]["Properties"]["Environment"]["Variables"]
    defaults = {name: parameter.get("Default", "x") for name, parameter in template["Parameters"].items()}

    def resolved(value: Any) -> str:
        if isinstance(value, dict):
            return str(defaults.get(value.get("Ref"), "x"))
        return str(value)

    return {name: own.get(name, resolved(value)) for name, value in given.items() if not name.startswith("AWS_")}


@dataclass
class Elsewhere:
    """What the functions call and moto does not have: each other, ECS, AppConfig's flags, sockets."""

    handlers: dict[str, ModuleType] = field(default_factory=dict)
    invoked: list[tuple[str, dict]] = field(default_factory=list)
    """Asynchronous invokes: function, payload."""
    posted: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    ended: bool = False
    """Whether ECS knows the task no more."""

    def __call__(self, model: Any, params: dict[str, Any], **_: object) -> tuple[AWSResponse, dict]:
        """Answer in place of the network; botocore calls it before a request is sent."""
        body = params.get("body") or b""
        answer = getattr(self, model.name)(params["url_path"], body.encode() if isinstance(body, str) else body)
        return AWSResponse(params["url_path"], 200, {}, None), answer

    def Invoke(self, path: str, body: bytes) -> dict:
        """Have sandbox_ctl's own handler answer; keep what is for a turn."""
        function, payload = unquote(path.split("/")[3]), json.loads(body)
        if function != "sandbox-ctl":
            self.invoked.append((function, payload))
            return {"StatusCode": 202}
        answer = self.handlers["sandbox_ctl.handler"].handle(payload, CONTEXT)
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(answer).encode())}

    def RunTask(self, path: str, body: bytes) -> dict:
        """Take the task."""
        self.tasks.append(json.loads(body)["startedBy"])
        return {"tasks": [{"taskArn": TASK, "lastStatus": "PROVISIONING"}], "failures": []}

    def DescribeTasks(self, path: str, body: bytes) -> dict:
        """Show the task on its way, until it has ended."""
        if self.tasks and not self.ended:
            task = {"taskArn": TASK, "lastStatus": "PROVISIONING", "desiredStatus": "RUNNING"}
            return {"tasks": [task], "failures": []}
        return {"tasks": [], "failures": [{"arn": arn, "reason": "MISSING"} for arn in json.loads(body)["tasks"]]}

    def ListTasks(self, path: str, body: bytes) -> dict:
        """Know of none."""
        return {"taskArns": []}

    def StopTask(self, path: str, body: bytes) -> dict:
        """End it."""
        return {"task": {"taskArn": TASK, "lastStatus": "STOPPED"}}

    def StartConfigurationSession(self, path: str, body: bytes) -> dict:
        """Begin."""
        return {"InitialConfigurationToken": "t"}

    def GetLatestConfiguration(self, path: str, body: bytes) -> dict:
        """Let everybody in."""
        content = io.BytesIO(json.dumps(FLAGS).encode())
        return {"NextPollConfigurationToken": "t", "NextPollIntervalInSeconds": 60, "Configuration": content}

    def PostToConnection(self, path: str, body: bytes) -> dict:
        """Take the frame."""
        self.posted.append(body.decode())
        return {}

    def DeleteConnection(self, path: str, body: bytes) -> dict:
        """Close it."""
        return {}


@contextmanager
def composed(monkeypatch, template: dict, functions: dict[str, str], **own: str) -> Iterator[Elsewhere]:
    """Import the handlers anew, each with the variables of the function that *functions* names for its module."""
    elsewhere = Elsewhere()
    session = boto3.Session()
    for service in ("lambda", "ecs", "appconfigdata", "apigatewaymanagementapi"):
        session.events.register(f"before-call.{service}", elsewhere)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    kept = {name: sys.modules.pop(name, None) for name in PACKAGES}
    try:
        for module, function in functions.items():
            for name, value in variables(template, function, **own).items():
                monkeypatch.setenv(name, value)
            elsewhere.handlers[module] = importlib.import_module(module)
        yield elsewhere
    finally:
        for name, module in kept.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
