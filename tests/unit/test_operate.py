"""Operators' commands on a real account, held against botocore's own models: what they ask, and what they make of it."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.stub import ANY, Stubber

from local.stack.template import read_template
from operate import checks
from operate.checks import Subject
from operate.destroy import Destruction, NotDestroyedError, retained
from operate.image import NoImageError, Release, found_builder
from operate.invoke import EVENTS, NotInvokedError, recorded
from operate.stacks import DeployedStack, NoStackError
from operate.verify import run, table

NOW = datetime(2026, 12, 1, 14, 0, tzinfo=UTC)
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/threadbox-dev"
REPOSITORY = "123456789012.dkr.ecr.us-east-1.amazonaws.com/threadbox-dev-sandbox"
OUTPUTS = {"ClusterArn": CLUSTER, "SandboxRepositoryUri": REPOSITORY, "WebSocketUrl": "wss://w.example/live"}
STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/threadbox-dev/1"


class StubbedStack(DeployedStack):
    """The stack threadbox-dev, whose clients answer what was put in; each call is checked against AWS's model."""

    def __init__(self) -> None:
        super().__init__(name="threadbox-dev")
        object.__setattr__(self, "stubs", {})

    def stub(self, service: str) -> Stubber:
        """Return what the service's answers are put into."""
        if service not in self.stubs:
            client = boto3.client(service, region_name="us-east-1")
            stubber = Stubber(client)
            stubber.activate()
            self.stubs[service] = stubber
        return self.stubs[service]

    def client(self, service: str, *, read_seconds: float):
        return self.stub(service).client

    def described(self, status: str = "CREATE_COMPLETE", **parameters: str) -> None:
        """Put in that CloudFormation describes it."""
        stack = {
            "StackName": self.name,
            "StackId": STACK_ID,
            "CreationTime": NOW,
            "StackStatus": status,
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in OUTPUTS.items()],
        }
        self.stub("cloudformation").add_response("describe_stacks", {"Stacks": [stack]})

    def resources(self, *names: str) -> None:
        """Put in which resources it has."""
        listed = [
            {
                "LogicalResourceId": name,
                "PhysicalResourceId": f"{name}-1",
                "ResourceType": "x",
                "LastUpdatedTimestamp": NOW,
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for name in names
        ]
        self.stub("cloudformation").add_response("list_stack_resources", {"StackResourceSummaries": listed})


@pytest.fixture
def stack():
    stack = StubbedStack()
    yield stack
    for stubber in stack.stubs.values():
        stubber.assert_no_pending_responses()


@pytest.fixture
def subject(stack):
    parameters = {"VaultKeyArn": "key", "CodexIssuerUrl": "https://idp.example"}
    return Subject(stack=stack, outputs=OUTPUTS, parameters=parameters, now=lambda: NOW)


def verdicts(findings):
    return [finding.verdict for finding in findings]


@pytest.mark.parametrize(("value", "verdict"), [(6.0, "ok"), (4.0, "FAILED")])
def test_quota_that_is_too_small_is_told(stack, subject, value, verdict):
    """With what it is and what is needed."""
    for quota in (value, 1000.0):
        stack.stub("service-quotas").add_response("get_service_quota", {"Quota": {"Value": quota}})

    first, second = checks.quotas(subject)

    assert (verdict, "ok") == (first.verdict, second.verdict)
    assert f"{value:.0f}, 6 at least" in first.told


def test_vault_refuses_what_is_not_bound(stack, subject):
    """Each binding is left out once; that one would be allowed is a failure."""
    refused = ("AccessDeniedException", "DryRunOperationException", "AccessDeniedException", "AccessDeniedException")
    for code in (*refused, "DryRunOperationException"):
        stack.stub("kms").add_client_error("generate_data_key", service_error_code=code)
    stack.stub("kms").add_client_error("encrypt", service_error_code="AccessDeniedException")

    assert ["ok", "FAILED", "ok", "ok", "look", "ok"] == verdicts(checks.vault(subject))


@pytest.mark.parametrize(("events", "verdict"), [([{"message": "swept"}], "ok"), ([], "FAILED")])
def test_schedule_is_known_by_what_the_sweeper_logged(stack, subject, events, verdict):
    """Of the group that the function logs to."""
    stack.stub("lambda").add_response(
        "get_function_configuration",
        {"FunctionName": "f", "LoggingConfig": {"LogGroup": "/group"}},
        {"FunctionName": "threadbox-dev-sandbox-ctl"},
    )
    stack.stub("logs").add_response(
        "filter_log_events",
        {"events": events},
        {"logGroupName": "/group", "startTime": ANY, "filterPattern": ANY},
    )

    assert [verdict] == verdicts(checks.schedule(subject))


def test_what_cloudtrail_shows_of_a_start(stack, subject):
    """Names, and whether their values can be read; of this cluster alone."""
    environment = [{"name": "A", "value": "1"}, {"name": "B", "value": "HIDDEN_DUE_TO_SECURITY_REASONS"}]
    ours = {"cluster": CLUSTER, "overrides": {"containerOverrides": [{"environment": environment}]}}
    events = [{"CloudTrailEvent": json.dumps({"requestParameters": it})} for it in ({"cluster": "other"}, ours)]
    stack.stub("cloudtrail").add_response("lookup_events", {"Events": events})

    (found,) = checks.overrides(subject)

    assert found.told.endswith("A (in the clear), B (hidden)")


def test_cloudtrail_that_is_late_is_no_failure(stack, subject):
    """It says when to look again."""
    stack.stub("cloudtrail").add_response("lookup_events", {"Events": []})
    assert ["unknown"] == verdicts(checks.overrides(subject))


def test_start_times_are_those_of_the_newest_task(stack, subject):
    """By phase, in seconds."""
    times = ("createdAt", "pullStartedAt", "pullStoppedAt", "startedAt")
    task = {name: NOW + timedelta(seconds=20 * number) for number, name in enumerate(times)}
    stack.stub("ecs").add_response("list_tasks", {"taskArns": ["a"]})
    stack.stub("ecs").add_response("describe_tasks", {"tasks": [task]})

    (found,) = checks.start_times(subject)

    assert "20 s place, 20 s image, 20 s process" in found.told


def test_check_that_breaks_down_keeps_no_other_from_being_made(stack, subject):
    """It is told as not known."""
    stack.stub("service-quotas").add_client_error("get_service_quota", service_error_code="AccessDenied")
    stack.stub("cloudtrail").add_response("lookup_events", {"Events": []})

    told = table(run(subject, {"quotas": checks.quotas, "overrides": checks.overrides}))

    assert 2 == told.count("not known")
    assert "AccessDenied" in told


def test_stack_that_is_not_there_is_told(stack):
    """With the command that brings it up."""
    stack.stub("cloudformation").add_client_error("describe_stacks", service_error_code="ValidationError")
    with pytest.raises(NoStackError, match="make deploy"):
        stack.outputs()


def destruction(stack):
    lines: list[str] = []
    return Destruction(stack=stack, say=lines.append, pause=lambda _: None), lines


def protected(stack, protection):
    stack.resources("Table", "VaultKey", "Cluster")
    table = {"Table": {"TableName": "Table-1", "DeletionProtectionEnabled": protection}}
    stack.stub("dynamodb").add_response("describe_table", table, {"TableName": "Table-1"})


def test_stack_is_deleted_when_its_name_is_typed(stack):
    """What stays was said before; sandboxes and images went first."""
    protected(stack, protection=False)
    stack.described()
    stack.stub("ecs").add_response("list_tasks", {"taskArns": [f"{CLUSTER}/t"]})
    stack.stub("ecs").add_response("stop_task", {}, {"cluster": CLUSTER, "task": f"{CLUSTER}/t", "reason": ANY})
    stack.stub("ecr").add_response("list_images", {"imageIds": [{"imageTag": "1"}]})
    stack.stub("ecr").add_response("batch_delete_image", {}, {"repositoryName": ANY, "imageIds": [{"imageTag": "1"}]})
    stack.described()
    stack.stub("cloudformation").add_response("delete_stack", {}, {"StackName": STACK_ID})
    stack.described("DELETE_IN_PROGRESS")
    stack.resources("VaultKey")
    stack.described("DELETE_COMPLETE")

    command, lines = destruction(stack)
    command.ask(lambda _: "threadbox-dev")

    assert "VaultKey: VaultKey-1" in lines[0]
    assert "1 resources left" in lines[-1]


@pytest.mark.parametrize(("typed", "protection"), [("yes", False), ("threadbox-dev", True)])
def test_nothing_is_deleted_without_its_name_or_against_protection(stack, typed, protection):
    """Not even a sandbox is stopped: nothing else is called."""
    protected(stack, protection=protection)
    with pytest.raises(NotDestroyedError):
        destruction(stack)[0].ask(lambda _: typed)


def test_what_stays_is_what_the_template_retains():
    """The key without which no backup could be read is among it."""
    resources = read_template()["Resources"]
    assert "VaultKey" in retained()
    assert all("Retain" in resources[name]["DeletionPolicy"] for name in retained())


def test_image_is_pushed_and_becomes_the_stacks_parameter(stack, tmp_path):
    """By its digest; all other parameters stay. The password is on nobody's command line."""
    digest = "sha256:" + "a" * 64
    commands: list[list[str]] = []

    def ran(command, given):
        commands.append([*command])
        assert given in (None, b"secret")
        return f"debian@{digest}\n" if "inspect" in command else ""

    parameters = {"SandboxArchitecture": "ARM64", "SandboxImage": "old"}
    stack.described(**parameters)
    stack.described(**parameters)
    token = base64.b64encode(b"AWS:secret").decode()
    stack.stub("ecr").add_response("get_authorization_token", {"authorizationData": [{"authorizationToken": token}]})
    stack.stub("ecr").add_response("describe_images", {"imageDetails": [{"imageDigest": digest}]})
    kept = {"ParameterKey": "SandboxArchitecture", "UsePreviousValue": True}
    changed = {"ParameterKey": "SandboxImage", "ParameterValue": f"{REPOSITORY}@{digest}"}
    stack.stub("cloudformation").add_response(
        "update_stack",
        {"StackId": STACK_ID},
        {
            "StackName": "threadbox-dev",
            "UsePreviousTemplate": True,
            "Parameters": [kept, changed],
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        },
    )
    stack.described("UPDATE_COMPLETE")

    release = Release(
        stack=stack,
        builder="podman",
        run=ran,
        say=lambda _: None,
        boms=tmp_path,
        write=lambda directory: [directory / "npm.cdx.json"],
        now=lambda: NOW,
    )

    assert f"{REPOSITORY}@{digest}" == release.make()
    pull, _, build, login, push = commands
    assert "linux/arm64" in pull
    assert f"DEBIAN=debian@{digest}" in build
    assert "secret" not in " ".join(login)
    assert push[-1].startswith(f"{REPOSITORY}:20261201-140000-")


def test_machine_without_a_builder_is_told_what_to_do(monkeypatch, tmp_path):
    """Before anything is asked of AWS."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoImageError, match="DOCKER_HOST"):
        found_builder()
    with pytest.raises(NoImageError):
        found_builder("podman")


def test_builder_that_is_there_is_taken(monkeypatch, tmp_path):
    """Docker first, unless another is wanted."""
    for name in ("docker", "podman"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ("docker", "podman") == (found_builder(), found_builder("podman"))


@pytest.mark.parametrize(
    ("function", "event", "told"),
    [("Nobody", "http-health", "ChatHttpFunction"), ("ChatHttpFunction", "nothing", "http-health")],
)
def test_unknown_function_or_event_is_told_with_those_there_are(function, event, told):
    """Before docker is looked for."""
    with pytest.raises(NotInvokedError, match=told):
        recorded(function, event)


def test_recorded_event_is_found():
    """By its name without the ending."""
    assert Path(EVENTS / "http-health.json") == recorded("ChatHttpFunction", "http-health")
