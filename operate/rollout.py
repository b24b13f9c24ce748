"""
``make rollout ENV=…``: shows who gets a sandbox; with ``TO=all|off|list|stop|resume`` it switches (docs/rollout.md).

It reads what is in force, writes what follows from that, and waits until AppConfig gives it out. Of two that switch at
once the later one goes by what the earlier one wrote.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from typing import Any, get_args

from botocore.exceptions import BotoCoreError, ClientError

from operate.flags import Document, Switch, switched, told
from operate.stacks import DeployedStack, NoStackError
from sandbox_ctl.rollout import FLAGS_SECONDS

READ_SECONDS = 20
PATIENCE = 60
PAUSE = 0.5
UNDER_WAY = ("DEPLOYING", "BAKING")


class NotSwitchedError(Exception):
    """The flags are not known, or are as they were."""


def main() -> int:
    """Show or switch; 0 when what is printed is in force."""
    parser = argparse.ArgumentParser(prog="operate.rollout", description=__doc__)
    parser.add_argument("--env", required=True, help="an environment of samconfig.toml, or: local")
    parser.add_argument("--to", choices=get_args(Switch))
    parser.add_argument("--users", default="", help="for list: ids, separated by commas")
    asked = parser.parse_args()
    users = [user.strip() for user in asked.users.split(",") if user.strip()]
    if bool(users) != (asked.to == "list"):
        parser.error("users are for --to list, which needs some")
    try:
        flags = DeployedFlags.of(DeployedStack.of(asked.env))
        document = flags.switch(asked.to, users) if asked.to else flags.read()[1]
    except (NoStackError, NotSwitchedError, BotoCoreError, ClientError) as error:
        print(f"make rollout failed: {error}", file=sys.stderr)
        return 1
    print(told(document))
    if asked.to:
        print(f"In force for every new sandbox within {FLAGS_SECONDS} s; those that run go on.")
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedFlags:
    """The flags of one stack, in AppConfig."""

    appconfig: Any
    application: str
    environment: str
    profile: str
    strategy: str

    @classmethod
    def of(cls, stack: DeployedStack) -> "DeployedFlags":
        """
        Return those of the stack.

        Raises:
            NotSwitchedError: the stack has none.
        """
        outputs = stack.outputs()
        if "Flags" not in outputs:
            raise NotSwitchedError("This stack was deployed without feature flags.")
        application, environment, profile, strategy = outputs["Flags"].split("/")
        return cls(
            appconfig=stack.client("appconfig", read_seconds=READ_SECONDS),
            application=application,
            environment=environment,
            profile=profile,
            strategy=strategy,
        )

    def switch(self, to: Switch, users: list[str]) -> Document:
        """
        Put the switched flags in force, and return them.

        Raises:
            NotSwitchedError: other deployments were in the way for too long.
        """
        until = time.monotonic() + PATIENCE
        while True:
            number, document = self.read()
            document = switched(document, to, users)
            if (started := self._start(document, after=number)) is not None:
                self._settle(started, until)
                return document
            if time.monotonic() > until:
                raise NotSwitchedError("Another deployment of the flags is under way; AppConfig's console can stop it.")
            time.sleep(PAUSE)

    def read(self) -> tuple[int, Document]:
        """
        Return the flags as they were deployed last, and the number of that deployment.

        Raises:
            NotSwitchedError: there are none.
        """
        pages = self.appconfig.get_paginator("list_deployments").paginate(**self._place())
        deployments = [deployment for page in pages for deployment in page["Items"]]
        kept = [d for d in deployments if d["State"] in ("COMPLETE", *UNDER_WAY)]
        if not kept:
            raise NotSwitchedError("No flags are deployed.")
        version = max(kept, key=lambda d: int(d["DeploymentNumber"]))["ConfigurationVersion"]
        stored = self.appconfig.get_hosted_configuration_version(**self._kind(), VersionNumber=int(version))
        return max(int(d["DeploymentNumber"]) for d in deployments), json.loads(stored["Content"].read())

    def _start(self, document: Document, *, after: int) -> int | None:
        """Begin to deploy the flags; None when that is not the next deployment after *after*, or another goes on."""
        version = self.appconfig.create_hosted_configuration_version(
            **self._kind(), Content=json.dumps(document).encode(), ContentType="application/json"
        )["VersionNumber"]
        try:
            begun = self.appconfig.start_deployment(
                **self._place(),
                ConfigurationProfileId=self.profile,
                ConfigurationVersion=str(version),
                DeploymentStrategyId=self.strategy,
                LatestDeploymentNumber=after,
            )
        except self.appconfig.exceptions.ConflictException:
            self.appconfig.delete_hosted_configuration_version(**self._kind(), VersionNumber=version)
            return None
        return int(begun["DeploymentNumber"])

    def _settle(self, number: int, until: float) -> None:
        while True:
            state = self.appconfig.get_deployment(**self._place(), DeploymentNumber=number)["State"]
            if state == "COMPLETE":
                return
            if state not in UNDER_WAY:
                raise NotSwitchedError(f"The deployment was called off ({state}).")
            if time.monotonic() > until:
                raise NotSwitchedError("The deployment takes long; make rollout shows what is deployed.")
            time.sleep(PAUSE)

    def _place(self) -> dict[str, str]:
        return {"ApplicationId": self.application, "EnvironmentId": self.environment}

    def _kind(self) -> dict[str, str]:
        return {"ApplicationId": self.application, "ConfigurationProfileId": self.profile}


if __name__ == "__main__":
    sys.exit(main())
