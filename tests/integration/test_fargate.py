"""The local ECS, as boto3 sees it, with real child processes."""

import concurrent.futures
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.ecs.isolation import Isolation
from local.stack.marks import mark_of, marked_processes
from tests.integration.fargate_standins import SANDBOXD, FakeAws
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0
PROXY = "http://127.0.0.1:9"
SANDBOX_ROOT = {"bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "opt", "proc", "sbin", "tmp", "usr"} | {
    "workspace",
    sys.base_prefix.split("/")[1],  # the interpreter's own folder, and nothing beside it
}


@dataclass
class Endpoint:
    """A running local ECS and what it stands on."""

    url: str
    aws: FakeAws
    state: Path
    namespaces: bool
    start: Callable[[], None]
    process: subprocess.Popen[bytes] = field(init=False)
    ecs: Any = field(init=False)
    """boto3's own client, without retries."""

    def __post_init__(self) -> None:
        self.ecs = boto3.client(
            "ecs", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32),
        )  # fmt: skip

    def run(self, **request: Any) -> dict[str, Any]:
        """Start a task of the one definition there is."""
        environment = request.pop("environment", {})
        overrides = [{"name": "sandboxd", "environment": [{"name": k, "value": v} for k, v in environment.items()]}]
        answer = self.ecs.run_task(
            cluster="threads", taskDefinition="sandbox", overrides={"containerOverrides": overrides}, **request
        )
        return answer["tasks"][0]

    def describe(self, task: dict[str, Any]) -> dict[str, Any]:
        """The task as it is now."""
        return self.ecs.describe_tasks(cluster="threads", tasks=[task["taskArn"]])["tasks"][0]

    def stop(self, task: dict[str, Any], reason: str = "because") -> None:
        """Ask it to stop."""
        self.ecs.stop_task(cluster="threads", task=task["taskArn"], reason=reason)

    def stopped(self, task: dict[str, Any]) -> dict[str, Any]:
        """The task once it is stopped."""
        return eventually(lambda: (shown := self.describe(task))["lastStatus"] == "STOPPED" and shown)

    def get(self, task: dict[str, Any], path: str) -> Any:
        """What its sandboxd answers, once it listens."""
        url = f"http://{address(task)}:4096{path}"

        def ask() -> Any:
            try:
                return httpx.get(url, timeout=5).json()
            except httpx.ConnectError:
                return None

        return eventually(ask)


def address(task: dict[str, Any]) -> str:
    (detail,) = (entry for entry in task["attachments"][0]["details"] if entry["name"] == "privateIPv4Address")
    return detail["value"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_image(directory: Path) -> Path:
    """The parts of the image with a sandboxd that tells what it sees."""
    (directory / "src" / "sandboxd").mkdir(parents=True)
    (directory / "src" / "sandboxd" / "__main__.py").write_text(SANDBOXD)
    (directory / "node_modules" / "opencode-linux-x64" / "bin").mkdir(parents=True)
    for machine in ("x64", "arm64"):
        binary = directory / "node_modules" / f"opencode-linux-{machine}" / "bin" / "opencode"
        binary.parent.mkdir(parents=True, exist_ok=True)
        binary.write_text("#!/bin/sh\necho opencode runs\n")
        binary.chmod(0o755)
    (directory / ".venv").symlink_to(ROOT / ".venv")
    return directory


@pytest.fixture(params=["namespaces", "plain"], scope="module")
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The local ECS, once as it is here with bubblewrap, and once as where there is none."""
    namespaces = request.param == "namespaces"
    if namespaces and not Isolation.probe().namespaces:
        pytest.skip("bubblewrap does not work here")
    directory = tmp_path_factory.mktemp(request.param)
    image, state, port = make_image(directory / "image"), directory / "state", free_port()
    programs = directory / "bin"
    programs.mkdir()
    environment = {
        **os.environ,
        "PATH": os.environ["PATH"] if namespaces else str(programs),
        "CANARY": "of the developer",
    }
    network = f"127.{200 + os.getpid() % 50}"

    with FakeAws() as aws:
        command = [sys.executable, "-m", "local.fargate", "--port", str(port), "--aws", aws.url, "--state", str(state)]
        command += ["--image", str(image), "--network", network, "--proxy", PROXY, "--ca", str(directory / "ca.pem")]
        (directory / "ca.pem").write_text("of the authority")
        url = f"http://127.0.0.1:{port}"

        def start() -> None:
            running.process = subprocess.Popen(command, cwd=ROOT, env=environment | mark_of(state))
            eventually(lambda: is_up(url))

        running = Endpoint(url, aws, state, namespaces, start)
        start()
        yield running
        running.process.terminate()
        assert running.process.wait(timeout=DEADLINE) in {0, -signal.SIGTERM}
        assert list(marked_processes(mark_of(state))) == []


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_local/health").is_success
    except httpx.ConnectError:
        return False


def test_a_task_runs_and_stops(endpoint):
    """
    A task goes through ECS's states, told in order, and answers at its own address.
    """
    task = endpoint.run(environment={"FROM_OVERRIDES": "yes"}, startedBy="a test")
    assert task["lastStatus"] in {"PROVISIONING", "PENDING"}
    assert task["startedBy"] == "a test"

    facts = endpoint.get(task, "/")
    assert facts["metadata"]["TaskARN"] == task["taskArn"]
    assert {"FROM_OVERRIDES": "yes", "FROM_DEFINITION": "yes"}.items() <= facts["environment"].items()
    assert endpoint.describe(task)["lastStatus"] == "RUNNING"

    endpoint.stop(task, reason="enough")
    ended = endpoint.stopped(task)

    assert (ended["stopCode"], ended["stoppedReason"], ended["desiredStatus"]) == ("UserInitiated", "enough", "STOPPED")
    assert ended["containers"][0]["exitCode"] == 0
    assert ended["startedAt"] <= ended["stoppedAt"]
    event = endpoint.aws.wait_for(task["taskArn"], "STOPPED")
    assert (event["version"], event["containers"][0]["exitCode"]) == (ended["version"], 0)
    states = ["PROVISIONING", "PENDING", "RUNNING", "STOPPING", "DEPROVISIONING", "STOPPED"]
    assert endpoint.aws.statuses(task["taskArn"]) == states


def test_nothing_of_the_developer_gets_in(endpoint):
    """
    The environment is the sandbox's own; with namespaces, so are files and processes, and the agent is another user.
    """
    task = endpoint.run()
    facts = endpoint.get(task, "/")
    endpoint.stop(task)

    assert not {"CANARY", "USER", "SSH_AUTH_SOCK", "AWS_ACCESS_KEY_ID"} & facts["environment"].keys()
    assert facts["writes"] == "written"
    assert facts["opencode"] == "opencode runs"
    assert (os.geteuid() == 0 and endpoint.namespaces) <= ("SANDBOXD_AGENT_UID" in facts["environment"])
    if endpoint.namespaces:
        assert set(facts["root"]) <= SANDBOX_ROOT
        assert len(facts["pids"]) < 10
        assert facts["agent"] == "agent"
        assert "THREADBOX_STACK" not in facts["environment"]


def test_the_way_out_leads_over_the_proxy(endpoint):
    """
    A sandbox is told the proxy and finds the certificate, which the agent may read; and that its network is shared.
    """
    task = endpoint.run()
    facts = endpoint.get(task, "/")
    endpoint.stop(task)

    assert facts["environment"]["HTTPS_PROXY"] == PROXY
    assert facts["environment"]["NO_PROXY"] == "127.0.0.1,localhost"
    assert facts["environment"]["SANDBOXD_SHARED_NETWORK"] == "1"
    assert facts["authority"] == "of the authority"


def test_a_task_that_ends_by_itself_is_reported(endpoint):
    """
    The exit code and ECS's own words for it; its output is kept.
    """
    task = endpoint.run(environment={"EXIT_AT_ONCE": "3"})
    ended = endpoint.stopped(task)

    assert (ended["stopCode"], ended["containers"][0]["exitCode"]) == ("EssentialContainerExited", 3)
    assert ended["stoppedReason"] == "Essential container in task exited"
    assert (endpoint.state / task["taskArn"].rpartition("/")[2] / "log").read_text() == "ended at once\n"


def test_a_task_that_does_not_listen_is_killed(endpoint):
    """
    After the stop timeout of its definition comes SIGKILL.
    """
    task = endpoint.run(environment={"IGNORE_SIGTERM": "1"})
    endpoint.get(task, "/")
    endpoint.stop(task)

    assert endpoint.stopped(task)["containers"][0]["exitCode"] == 137


def test_a_client_token_starts_one_task(endpoint):
    """
    Two hundred at once, and one after its end, all get the same task; other parameters are refused.
    """
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        tasks = list(pool.map(lambda _: endpoint.run(clientToken="once"), range(200)))
    assert len({task["taskArn"] for task in tasks}) == 1
    endpoint.stop(tasks[0])
    endpoint.stopped(tasks[0])

    again = endpoint.run(clientToken="once")

    assert (again["taskArn"], again["lastStatus"]) == (tasks[0]["taskArn"], "STOPPED")
    with pytest.raises(ClientError, match="ConflictException"):
        endpoint.run(clientToken="once", startedBy="another")


def test_tasks_are_listed_in_pages(endpoint):
    """
    ListTasks filters as ECS does and hands out pages.
    """
    tasks = [endpoint.run(startedBy="lister")["taskArn"] for _ in range(3)]
    other = endpoint.run(startedBy="somebody")["taskArn"]
    client = endpoint.ecs

    pages = client.get_paginator("list_tasks").paginate(
        cluster="threads", startedBy="lister", PaginationConfig={"PageSize": 2}
    )
    assert [page["taskArns"] for page in pages] == [tasks[:2], tasks[2:]]
    assert other in client.list_tasks(cluster="threads", family="sandbox")["taskArns"]
    assert client.list_tasks(cluster="elsewhere")["taskArns"] == []
    for arn in [*tasks, other]:
        client.stop_task(cluster="threads", task=arn)
    stopped = client.list_tasks(cluster="threads", desiredStatus="STOPPED", startedBy="lister")
    assert stopped["taskArns"] == tasks


def test_what_is_not_there_is_said(endpoint):
    """
    Unknown tasks are MISSING, unknown definitions refused; other requests reach the embedded AWS.
    """
    client = endpoint.ecs

    missing = client.describe_tasks(cluster="threads", tasks=["0" * 32])
    assert missing["failures"] == [{"arn": "0" * 32, "reason": "MISSING"}]
    with pytest.raises(client.exceptions.ClientException):
        client.run_task(cluster="threads", taskDefinition="unknown")
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.stop_task(cluster="threads", task="0" * 32)
    wrong = {"containerOverrides": [{"name": "other"}]}
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.run_task(cluster="threads", taskDefinition="sandbox", overrides=wrong)
    assert client.describe_clusters()["clusters"][0]["clusterName"] == "passed-on"


def test_events_survive_a_bad_moment(endpoint):
    """
    EventBridge refusing three times delays events, and keeps their order.
    """
    endpoint.aws.refusals = 3

    task = endpoint.run(environment={"EXIT_AT_ONCE": "0"})

    endpoint.aws.wait_for(task["taskArn"], "STOPPED")
    states = ["PROVISIONING", "PENDING", "RUNNING", "DEPROVISIONING", "STOPPED"]
    assert endpoint.aws.statuses(task["taskArn"]) == states


@pytest.mark.parametrize("fault", ["throttle", "no_capacity", "lose_response"])
def test_faults_come_when_ordered(endpoint, fault):
    """
    Each fault comes as often as ordered; a lost response has started the task all the same.
    """
    client = endpoint.ecs
    request = {"cluster": "faults", "taskDefinition": "sandbox", "clientToken": f"token-of-{fault}", "startedBy": fault}
    httpx.post(f"{endpoint.url}/_local/faults", json={"run_task": fault, "count": 1}).raise_for_status()

    if fault == "throttle":
        with pytest.raises(ClientError, match="ThrottlingException"):
            client.run_task(**request)
    elif fault == "no_capacity":
        answer = client.run_task(**request)
        assert answer["tasks"] == []
        assert "Capacity is unavailable" in answer["failures"][0]["reason"]
    else:
        with pytest.raises(ClientError, match="502"):
            client.run_task(**request)

    started = client.list_tasks(cluster="faults", startedBy=fault)["taskArns"]
    assert len(started) == (1 if fault == "lose_response" else 0)
    (task,) = client.run_task(**request)["tasks"]
    assert client.list_tasks(cluster="faults", startedBy=fault)["taskArns"] == [task["taskArn"]]
    client.stop_task(cluster="faults", task=task["taskArn"])


def test_a_task_that_cannot_start_says_why(endpoint):
    """
    A part of the image that is missing is ECS's CannotStartContainerError.
    """
    source = endpoint.state.parent / "image" / "src" / "sandboxd"
    shutil.move(source, source.with_name("away"))
    try:
        ended = endpoint.stopped(endpoint.run())
    finally:
        shutil.move(source.with_name("away"), source)

    assert ended["stopCode"] == "TaskFailedToStart"
    assert "sandboxd is missing" in ended["stoppedReason"]


def test_everything_ends_with_the_endpoint(endpoint):
    """
    Killed without warning it takes its tasks along, to the last child; started again it knows how they ended.
    """
    task = endpoint.run(clientToken="survivor")
    endpoint.get(task, "/")

    endpoint.process.send_signal(signal.SIGKILL)
    endpoint.process.wait(timeout=DEADLINE)

    eventually(lambda: list(marked_processes(mark_of(endpoint.state))) == [])
    endpoint.start()
    ended = endpoint.describe(task)
    assert (ended["lastStatus"], ended["containers"][0]["exitCode"]) == ("STOPPED", 137)
    assert endpoint.run(clientToken="survivor")["taskArn"] == task["taskArn"]
    endpoint.aws.wait_for(task["taskArn"], "STOPPED")
