"""What ``make verify-aws`` checks, a function each: what a real account does where this design relies on it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from operate.probe import reaches
from operate.smoke import Smoke
from operate.stacks import READ_SECONDS, DeployedStack
from operate.steps import StepFailedError

Verdict = Literal["ok", "FAILED", "unknown", "look"]
"""``look``: there is no right or wrong to it, somebody has to read it."""
START_SECONDS = 300
IMAGE_AIM_SECONDS = 60
QUOTAS = (
    ("fargate", "L-3032A538", "Fargate vCPUs at once, of all sandboxes", 6),
    ("lambda", "L-B99A9384", "Lambda executions at once, one for each turn and more", 100),
)
BINDINGS = ("thread", "owner", "provider", "schema")
SWEPT_WITHIN = timedelta(minutes=11)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    verdict: Verdict
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The stack that is looked at."""

    stack: DeployedStack
    outputs: dict[str, str]
    parameters: dict[str, str]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @classmethod
    def of(cls, stack: DeployedStack) -> "Subject":
        """
        Return that of a deployed stack.

        Raises:
            NoStackError: it is not deployed.
        """
        parameters = {p["ParameterKey"]: p["ParameterValue"] for p in stack.describe().get("Parameters", [])}
        return cls(stack=stack, outputs=stack.outputs(), parameters=parameters)

    def client(self, service: str) -> Any:
        """Return a client of that service."""
        return self.stack.client(service, read_seconds=READ_SECONDS)

    def function(self, name: str) -> dict[str, Any]:
        """Return how a function of the stack is configured."""
        found: dict[str, Any] = self.client("lambda").get_function_configuration(
            FunctionName=f"{self.stack.name}-{name}"
        )
        return found


def network(subject: Subject) -> list[Finding]:
    """Both hosts that functions in the network call over the internet answer there: sockets, the token endpoint."""
    if not subject.function("sandbox-ctl").get("VpcConfig", {}).get("SubnetIds"):
        return [Finding("FAILED", "sandbox-ctl is in no network: it reaches no sandbox")]
    sockets = urlsplit(subject.outputs["WebSocketUrl"]).netloc
    issuer = urlsplit(subject.parameters["CodexIssuerUrl"]).netloc
    found = reaches(subject.stack, [sockets, issuer])
    names = {sockets: "posts to @connections", issuer: "the token endpoint"}
    findings = []
    for host, families in found.items():
        ways = ", ".join(f"{family} {'yes' if reach.ok else 'no'} ({reach.told})" for family, reach in families.items())
        good = any(reach.ok for reach in families.values())
        hint = "" if good else "; deploy with Egress=nat (docs/network.md)"
        findings.append(Finding("ok" if good else "FAILED", f"{names[host]}: {ways}{hint}"))
    return findings


def answer(subject: Subject) -> list[Finding]:
    """A turn's function in the network posts frames to a socket: an answer arrives; and how long its task took."""
    smoke = Smoke.of(subject.stack, seconds=START_SECONDS)
    with smoke.http:
        smoke.session()
        try:
            told = smoke.answer(lambda _: None)
            return [Finding("ok", f"frames arrive: {told}"), *start_times(subject)]
        except StepFailedError as error:
            return [Finding("FAILED", f"no answer: {error}"), *start_times(subject)]
        finally:
            smoke.delete()


def start_times(subject: Subject) -> list[Finding]:
    """Return what the newest task waited for: its network and place, its image, its process."""
    ecs, cluster = subject.client("ecs"), subject.outputs["ClusterArn"]
    arns = ecs.list_tasks(cluster=cluster)["taskArns"]
    tasks = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    started = [task for task in tasks if "startedAt" in task and "pullStoppedAt" in task]
    if not started:
        return [Finding("unknown", "image start time: no task has started")]
    task = max(started, key=lambda found: found["createdAt"])
    place = (task["pullStartedAt"] - task["createdAt"]).total_seconds()
    pull = (task["pullStoppedAt"] - task["pullStartedAt"]).total_seconds()
    process = (task["startedAt"] - task["pullStoppedAt"]).total_seconds()
    verdict: Verdict = "ok" if place + pull + process <= IMAGE_AIM_SECONDS else "look"
    return [Finding(verdict, f"image start time: {place:.0f} s place, {pull:.0f} s image, {process:.0f} s process")]


def quotas(subject: Subject) -> list[Finding]:
    """New accounts may have very little."""
    client, findings = subject.client("service-quotas"), []
    for service, code, meaning, least in QUOTAS:
        value = client.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"]
        findings.append(Finding("ok" if value >= least else "FAILED", f"{meaning}: {value:.0f}, {least} at least"))
    return findings


def overrides(subject: Subject) -> list[Finding]:
    """What CloudTrail shows of a start: the names of what is overridden, of which none may be a secret."""
    found = subject.client("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "RunTask"}],
        StartTime=subject.now() - timedelta(hours=3),
    )
    events = [json.loads(event["CloudTrailEvent"]) for event in found["Events"]]
    ours = [e for e in events if subject.outputs["ClusterArn"] == (e.get("requestParameters") or {}).get("cluster")]
    if not ours:
        return [Finding("unknown", "CloudTrail has no RunTask of the last hours yet: run this again in 15 minutes")]
    containers = (ours[0]["requestParameters"].get("overrides") or {}).get("containerOverrides") or []
    shown = {entry["name"]: entry.get("value") for c in containers for entry in c.get("environment") or []}
    words = ", ".join(f"{name} ({'hidden' if _hidden(value) else 'in the clear'})" for name, value in shown.items())
    return [Finding("look", f"CloudTrail shows of a start: {words or 'no overrides'}")]


def vault(subject: Subject) -> list[Finding]:
    """Nobody gets a data key that is not bound to a thread: not even whoever runs this."""
    key = subject.parameters.get("VaultKeyArn") or _physical(subject, "VaultKey")
    kms, findings = subject.client("kms"), []
    for missing in (*BINDINGS, None):
        context = {name: "verify-aws" for name in BINDINGS if name != missing}
        outcome = _refusal(lambda c=context: kms.generate_data_key(
            KeyId=key, KeySpec="AES_256", EncryptionContext=c, DryRun=True
        ))  # fmt: skip
        if missing is None:
            findings.append(Finding("look", f"a data key that is bound, for you: {outcome}"))
        else:
            refused = outcome == "AccessDeniedException"
            findings.append(Finding("ok" if refused else "FAILED", f"a data key without its {missing}: {outcome}"))
    outcome = _refusal(lambda: kms.encrypt(KeyId=key, Plaintext=b"x", DryRun=True))
    findings.append(Finding("ok" if outcome == "AccessDeniedException" else "FAILED", f"Encrypt: {outcome}"))
    return findings


def schedule(subject: Subject) -> list[Finding]:
    """The schedule's event is known by its detail-type: the sweeper has swept within the last minutes."""
    since = subject.now() - SWEPT_WITHIN
    pages = subject.client("logs").get_paginator("filter_log_events").paginate(
        logGroupName=_log_group(subject.function("sandbox-ctl")),
        startTime=int(since.timestamp() * 1000),
        filterPattern='{ $.message = "swept" }',
    )  # fmt: skip
    count = sum(len(page["events"]) for page in pages)
    return [Finding("ok" if count else "FAILED", f"sweeps in the last {SWEPT_WITHIN.seconds // 60} minutes: {count}")]


CHECKS: dict[str, Callable[[Subject], list[Finding]]] = {
    "quotas": quotas,
    "vault": vault,
    "schedule": schedule,
    "network": network,
    "answer": answer,
    "overrides": overrides,
}


def _log_group(function: dict[str, Any]) -> str:
    configured: str = function.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{function['FunctionName']}"
    return configured


def _physical(subject: Subject, name: str) -> str:
    found = subject.client("cloudformation").describe_stack_resource(
        StackName=subject.stack.name, LogicalResourceId=name
    )
    physical: str = found["StackResourceDetail"]["PhysicalResourceId"]
    return physical


def _hidden(value: object) -> bool:
    return value is None or "HIDDEN" in str(value)


def _refusal(call: Callable[[], object]) -> str:
    """Return the code that a dry run ends with: DryRunOperationException when it would have been done."""
    try:
        call()
    except ClientError as error:
        code: str = error.response["Error"]["Code"]
        return code
    return "done"
