"""Which deployed stack a command is for: an environment of samconfig.toml, or the local one."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local.stack.aws_clients import client
from local.stack.layout import Layout
from local.stack.settings import Settings
from local.stack.stack_file import StackFile

SAMCONFIG = Path(__file__).parents[1] / "samconfig.toml"
LOCAL = "local"
LOCAL_STACK = "threadbox"
READ_SECONDS = 20


class NoStackError(Exception):
    """There is no such stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedStack:
    """
    A stack by its name; *aws_url* is the embedded AWS's, None for the real one.

    *addresses* are outputs that are others than the stack knows: the local one answers elsewhere than on AWS.
    """

    name: str
    region: str | None = None
    aws_url: str | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, environment: str) -> "DeployedStack":
        """
        Return the stack of an environment.

        Raises:
            NoStackError: samconfig.toml has no such environment, or the local stack is not up.
        """
        if environment == LOCAL:
            file = StackFile.find(Layout.of(Settings().threadbox_state).stack_file)
            if file is None:
                raise NoStackError("The local stack is not up.")
            addresses = {"HttpUrl": file.http_url, "WebSocketUrl": file.ws_url}
            return cls(name=LOCAL_STACK, aws_url=file.aws_url, addresses=addresses)
        known = tomllib.loads(SAMCONFIG.read_text())
        try:
            parameters = known[environment]["deploy"]["parameters"]
        except KeyError:
            raise NoStackError(f"samconfig.toml knows no environment {environment!r}.") from None
        return cls(name=parameters["stack_name"], region=parameters.get("region"))

    def outputs(self) -> dict[str, str]:
        """
        Return what the stack tells of itself, by the names of template.yaml.

        Raises:
            NoStackError: it is not deployed.
        """
        return {o["OutputKey"]: o["OutputValue"] for o in self.describe().get("Outputs", [])} | dict(self.addresses)

    def describe(self) -> dict[str, Any]:
        """
        Return the stack as CloudFormation describes it.

        Raises:
            NoStackError: it is not deployed.
        """
        try:
            (deployed,) = self.client("cloudformation", read_seconds=READ_SECONDS).describe_stacks(StackName=self.name)[
                "Stacks"
            ]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                raise NoStackError(f"There is no stack {self.name}: make deploy brings it up.") from error
            raise
        described: dict[str, Any] = deployed
        return described

    def client(self, service: str, *, read_seconds: float) -> Any:
        """Return a client of that service; calls are not repeated by themselves."""
        if self.aws_url is not None:
            return client(service, self.aws_url)
        config = Config(connect_timeout=5, read_timeout=read_seconds, retries={"total_max_attempts": 1})
        return boto3.client(service, region_name=self.region, config=config)  # type: ignore[call-overload]
