"""Which deployed stack a command is for: an environment of samconfig.toml, or the local one."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local.stack.aws_clients import client
from local.stack.layout import Layout
from local.stack.settings import Settings
from local.stack.stack_file import StackFile

SAMCONFIG = Path(__file__).parents[1] / "samconfig.toml"
LOCAL = "local"
LOCAL_STACK = "threadbox"


class NoStackError(Exception):
    """There is no such stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedStack:
    """A stack by its name; *aws_url* is the embedded AWS's, None for the real one."""

    name: str
    region: str | None = None
    aws_url: str | None = None

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
            return cls(name=LOCAL_STACK, aws_url=file.aws_url)
        known = tomllib.loads(SAMCONFIG.read_text())
        try:
            parameters = known[environment]["deploy"]["parameters"]
        except KeyError:
            raise NoStackError(f"samconfig.toml knows no environment {environment!r}.") from None
        return cls(name=parameters["stack_name"], region=parameters.get("region"))

    def client(self, service: str, *, read_seconds: float) -> Any:
        """Return a client of that service; calls are not repeated by themselves."""
        if self.aws_url is not None:
            return client(service, self.aws_url)
        config = Config(connect_timeout=5, read_timeout=read_seconds, retries={"total_max_attempts": 1})
        return boto3.client(service, region_name=self.region, config=config)  # type: ignore[call-overload]
