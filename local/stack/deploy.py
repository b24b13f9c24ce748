"""Brings template.yaml into the embedded AWS, with the tools that bring it to AWS: ``sam build`` and ``sam deploy``."""

import contextlib
import functools
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from botocore.exceptions import ClientError

from local.stack.aws_clients import DUMMY, REGION, client
from local.stack.installs import UV, locked, run
from local.stack.layout import CHECKOUT, Layout, fingerprint
from local.stack.ports import Ports
from local.stack.processes import PartFailedError, wait_until
from local.stack.settings import Settings
from local.stack.template import TEMPLATE

STACK = "threadbox"
BUCKET = "threadbox-local-artifacts"
MODEL_KEYS = "threadbox-local-model-keys"
DEPLOYED = "/threadbox/local/deployed"
"""The parameter that tells what was deployed last. It lies beside the stack, so both are there or neither."""
SOURCES = (TEMPLATE, CHECKOUT / "statemachines", CHECKOUT / "layers", CHECKOUT / "functions")
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURE = "arm64" if platform.machine() == "aarch64" else "x86_64"
BUILDS_KEPT = 4
SETTLE_SECONDS = 120
UPDATABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "DELETE_COMPLETE"}


class Deployment:
    """The stack in the embedded AWS."""

    def __init__(self, layout: Layout, ports: Ports, settings: Settings) -> None:
        self._layout = layout
        self._ports = ports
        self._settings = settings
        self._url = f"http://127.0.0.1:{ports['aws']}"

    @functools.cached_property
    def built(self) -> Path:
        """What this deployment is of. Looked up once: what is edited during ``up`` is for the next one."""
        return built_in(self._layout)

    @functools.cached_property
    def made_of(self) -> str:
        """Fingerprint of all that is deployed."""
        return fingerprint(
            self.built.name, sorted(self._parameters().items()), sorted(self._settings.model_keys.items())
        )

    def outputs(self) -> dict[str, str] | None:
        """The outputs of the stack if it is deployed as it is meant to be."""
        try:
            deployed = self._client("ssm").get_parameter(Name=DEPLOYED)["Parameter"]["Value"]
            stack = self._client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        except ClientError:
            return None
        if deployed != self.made_of or not stack["StackStatus"].endswith("_COMPLETE"):
            return None
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def build(self) -> None:
        """
        Run ``sam build`` for the Python and the processor of this machine, unless a stack of this checkout has done so.

        Raises:
            CommandFailedError: it failed.

        """
        with locked(self._layout.builds / "lock"):
            if not self.built.exists():
                # Under its name only when it is whole, and never changed from then on: others deploy from it.
                part = self.built.with_suffix(".part")
                shutil.rmtree(part, ignore_errors=True)
                command = ("build", "--template", str(TEMPLATE), "--build-dir", str(part))
                arguments = self._sam(*command, *_overrides(self._parameters()))
                run("sam-build", arguments, self._layout, environment=self._environment())
                part.rename(self.built)
            self.built.touch()
            _keep_newest(self._layout.builds)

    def deploy(self) -> None:
        """
        Run ``sam deploy`` against the embedded AWS.

        Raises:
            CommandFailedError: it failed.

        """
        self._clear_the_way()
        keys = {"ModelKeysSecretArn": self._write_model_keys()}
        s3 = self._client("s3")
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=BUCKET)
        template = TEMPLATE.read_text()
        described = self._client("cloudformation").get_template_summary(TemplateBody=template)["Parameters"]
        # Said all, for an update keeps the last value of what it is not told.
        defaults = {parameter["ParameterKey"]: parameter.get("DefaultValue", "") for parameter in described}
        command = (
            *("deploy", "--template", str(self.built / "template.yaml"), "--stack-name", STACK),
            *("--s3-bucket", BUCKET, "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"),
            *("--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"),
        )
        overrides = _overrides(defaults | self._parameters() | keys)
        run("sam-deploy", self._sam(*command, *overrides), self._layout, environment=self._environment())
        self._apply_cors()
        self._client("ssm").put_parameter(Name=DEPLOYED, Value=self.made_of, Type="String", Overwrite=True)

    def _client(self, service: str) -> Any:
        """A boto3 client for the embedded AWS."""
        return client(service, self._url)

    def _parameters(self) -> dict[str, str]:
        settings = self._settings
        numbers = {
            "CodexCallbackTimeoutSeconds": settings.codex_callback_timeout_seconds,
            "CodexAbandonSeconds": settings.codex_abandon_seconds,
            "HopSeconds": settings.codex_hop_seconds,
            "SandboxIdleSeconds": settings.sandbox_idle_seconds,
            "SandboxLifeSeconds": settings.sandbox_life_seconds,
            "SandboxesPerUser": settings.sandboxes_per_user,
            "TurnsPerMinute": settings.turns_per_minute,
        }
        return (
            {name: str(value) for name, value in numbers.items() if value is not None}
            | {
                "Runtime": RUNTIME,
                "Architecture": ARCHITECTURE,
                "AllowedOrigins": f"http://127.0.0.1:{self._ports['web']},http://localhost:{self._ports['web']}",
                "EcsEndpointUrl": f"http://127.0.0.1:{self._ports['ecs']}",
                "WebAppUrl": f"http://127.0.0.1:{self._ports['web']}/",
                "ConnectionsUrl": f"http://127.0.0.1:{self._ports['gateway']}/_aws/execute-api/threadbox-ws/live",
                "ModelBaseUrl": settings.model_base_url or f"http://127.0.0.1:{self._ports['model']}/v1",
                "ModelName": settings.model_name or "demo",
                "AnthropicApiUrl": settings.anthropic_api_url or "",
                "OpenAiApiUrl": settings.openai_api_url or "",
            }
            | ({} if settings.real_codex else {"CodexIssuerUrl": f"http://127.0.0.1:{self._ports['idp']}"})
        )

    def _sam(self, *arguments: str) -> tuple[str, ...]:
        return (str(self._layout.tools / "sam" / "bin" / "sam"), *arguments, "--region", REGION)

    def _environment(self) -> dict[str, str]:
        # uv, which builds the layer, needs the developer's settings (cache, index, certificates); AWS gets none of his.
        theirs = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_"))}
        return theirs | {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_ACCESS_KEY_ID": DUMMY,
            "AWS_SECRET_ACCESS_KEY": DUMMY,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.3",
            "__SAM_CLI_APP_DIR": str(self._layout.state / "sam"),
            "LAMBDA_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
            "LAMBDA_PLATFORM": f"{platform.machine()}-manylinux_2_28",
            "PATH": f"{UV.parent}:{theirs.get('PATH', os.defpath)}",
        }

    def _apply_cors(self) -> None:
        """Give the HTTP API the CORS configuration that the template gave it: the embedded AWS keeps it unread."""
        apis = self._client("apigatewayv2")
        for api in apis.get_apis()["Items"]:
            kept = httpx.get(f"{self._url}/v2/apis/{api['ApiId']}", trust_env=False).raise_for_status().json()
            # As the template has it (AllowOrigins) until this was done once, as the API has it (allowOrigins) then.
            cors = {name[0].upper() + name[1:]: value for name, value in kept.get("corsConfiguration", {}).items()}
            if cors:
                apis.update_api(ApiId=api["ApiId"], CorsConfiguration=cors)

    def _write_model_keys(self) -> str:
        """
        Make the secret with the API keys anew and return its ARN, "" when there is no key.

        Each is another secret: functions that run keep what they read for minutes, and a new ARN makes them new.
        """
        secrets = self._client("secretsmanager")
        for old in secrets.list_secrets(Filters=[{"Key": "name", "Values": [MODEL_KEYS]}])["SecretList"]:
            secrets.delete_secret(SecretId=old["ARN"], ForceDeleteWithoutRecovery=True)
        keys = self._settings.model_keys
        if not keys:
            return ""
        name = f"{MODEL_KEYS}-{uuid4().hex[:8]}"
        arn: str = secrets.create_secret(Name=name, SecretString=json.dumps(keys))["ARN"]
        return arn

    def _clear_the_way(self) -> None:
        """Wait for what an interrupted deployment left under way, and delete a stack that cannot be updated."""
        cloudformation = self._client("cloudformation")
        if not wait_until(lambda: not _status(cloudformation).endswith("_IN_PROGRESS"), seconds=SETTLE_SECONDS):
            raise PartFailedError(f"the stack {STACK} stays {_status(cloudformation)}")
        if _status(cloudformation) not in UPDATABLE:
            cloudformation.delete_stack(StackName=STACK)
            if not wait_until(lambda: _status(cloudformation) == "DELETE_COMPLETE", seconds=SETTLE_SECONDS):
                raise PartFailedError(f"the stack {STACK} stays {_status(cloudformation)}")


def built_in(layout: Layout) -> Path:
    """Where ``sam build`` puts, or has put, what it makes of the sources as they are now."""
    return layout.builds / fingerprint(*SOURCES, RUNTIME, ARCHITECTURE)


def _keep_newest(builds: Path) -> None:
    """Remove what was built before the last few."""
    made = sorted((path for path in builds.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in made[:-BUILDS_KEPT]:
        shutil.rmtree(path)


def _overrides(parameters: dict[str, str]) -> tuple[str, ...]:
    pairs = (f"ParameterKey={name},ParameterValue={value}" for name, value in parameters.items())
    return ("--parameter-overrides", *pairs)


def _status(cloudformation: Any) -> str:
    """The stack's status; one that is not there counts as deleted, and one that only has a change set, too."""
    try:
        status: str = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
    except ClientError:
        return "DELETE_COMPLETE"
    return "DELETE_COMPLETE" if status == "REVIEW_IN_PROGRESS" else status
