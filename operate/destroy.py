"""
``make destroy ENV=…``: deletes a deployed stack, once somebody has typed its name; says before what stays.

Sandboxes that run are stopped and images are deleted first: the cluster and the repository do not go with something in
them. A table with deletion protection is left alone, and with it the whole stack.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.stack.template import read_template
from operate.stacks import LOCAL, READ_SECONDS, DeployedStack, NoStackError
from operate.steps import say

DELETE_SECONDS = 3600
PAUSE = 5.0
PAGE = 100


class NotDestroyedError(Exception):
    """The stack is still there, or a part of it is."""


def main() -> int:
    """Delete it; 0 when it is gone."""
    parser = argparse.ArgumentParser(prog="operate.destroy", description=__doc__)
    parser.add_argument("--env", required=True, help="an environment of samconfig.toml")
    asked = parser.parse_args()
    if asked.env == LOCAL:
        parser.error("the stack of this machine ends with make down")
    try:
        stack = DeployedStack.of(asked.env)
        Destruction(stack=stack).ask(input)
    except (NoStackError, NotDestroyedError, BotoCoreError, ClientError, EOFError) as error:
        print(f"make destroy failed: {error}", file=sys.stderr)
        return 1
    print(f"{stack.name} is deleted.")
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Destruction:
    """The end of one stack."""

    stack: DeployedStack
    say: Callable[[str], None] = say
    pause: Callable[[float], None] = time.sleep

    def ask(self, answer: Callable[[str], str]) -> None:
        """
        Say what goes and what stays, and delete it if the *answer* is the stack's name.

        Raises:
            NotDestroyedError: it was not, or what :meth:`announcement` and :meth:`run` say.
        """
        self.say(self.announcement())
        if answer(f"Type the stack's name ({self.stack.name}) to delete it: ").strip() != self.stack.name:
            raise NotDestroyedError("That is not its name; nothing was deleted.")
        self.run()

    def announcement(self) -> str:
        """
        Return what goes and what stays.

        Raises:
            NotDestroyedError: its table may not be deleted.
        """
        resources = self._resources()
        stay = [f"  {name}: {resources[name]}" for name in retained() if name in resources]
        if "Table" in resources and self._protected(resources["Table"]):
            table = resources["Table"]
            raise NotDestroyedError(f"The table {table} has deletion protection. Switch that off first.")
        lines = [
            f"{self.stack.name} has {len(resources)} resources. Sandboxes are stopped, images are deleted.",
            "What stays, with all that is in it, until somebody deletes it by hand (docs/deploy.md):",
            *(stay or ["  nothing"]),
        ]
        return "\n".join(lines)

    def run(self) -> None:
        """
        Delete it.

        Raises:
            NotDestroyedError: CloudFormation could not delete something, or is not done within an hour.
        """
        outputs = self.stack.outputs()
        self._stop_sandboxes(outputs.get("ClusterArn"))
        self._delete_images(outputs.get("SandboxRepositoryUri"))
        stack_id = self.stack.describe()["StackId"]
        cloudformation = self._client("cloudformation")
        cloudformation.delete_stack(StackName=stack_id)
        end, told = time.monotonic() + DELETE_SECONDS, ""
        while True:
            # By its id: a stack that is gone has no name any more.
            (stack,) = cloudformation.describe_stacks(StackName=stack_id)["Stacks"]
            status = stack["StackStatus"]
            if status == "DELETE_COMPLETE":
                return
            if status != "DELETE_IN_PROGRESS":
                raise NotDestroyedError(f"{status}: {stack.get('StackStatusReason', '')}\n{self._failures(stack_id)}")
            if time.monotonic() > end:
                raise NotDestroyedError("It takes long; CloudFormation's console shows how far it is.")
            left = len(self._resources(stack_id))
            if (line := f"  {status}, {left} resources left") != told:
                self.say(told := line)
            self.pause(PAUSE)

    def _stop_sandboxes(self, cluster: str | None) -> None:
        if cluster is None:
            return
        ecs = self._client("ecs")
        for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster):
            for task in page["taskArns"]:
                ecs.stop_task(cluster=cluster, task=task, reason="the stack is deleted")
                self.say(f"  stopped {task.rsplit('/', 1)[-1]}")

    def _delete_images(self, repository: str | None) -> None:
        if repository is None:
            return
        ecr, name = self._client("ecr"), repository.split("/", 1)[1]
        ids = [i for page in ecr.get_paginator("list_images").paginate(repositoryName=name) for i in page["imageIds"]]
        for start in range(0, len(ids), PAGE):
            ecr.batch_delete_image(repositoryName=name, imageIds=ids[start : start + PAGE])
        self.say(f"  deleted {len(ids)} images")

    def _resources(self, stack: str | None = None) -> dict[str, str]:
        pages = self._client("cloudformation").get_paginator("list_stack_resources").paginate(
            StackName=stack or self.stack.name
        )  # fmt: skip
        found = [summary for page in pages for summary in page["StackResourceSummaries"]]
        there = [summary for summary in found if summary["ResourceStatus"] not in ("DELETE_COMPLETE", "DELETE_SKIPPED")]
        return {summary["LogicalResourceId"]: summary.get("PhysicalResourceId", "") for summary in there}

    def _failures(self, stack_id: str) -> str:
        pages = self._client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack_id)
        found = [summary for page in pages for summary in page["StackResourceSummaries"]]
        failed = [s for s in found if s["ResourceStatus"] == "DELETE_FAILED"]
        return "\n".join(f"  {s['LogicalResourceId']}: {s.get('ResourceStatusReason', '')}" for s in failed)

    def _protected(self, table: str) -> bool:
        described = self._client("dynamodb").describe_table(TableName=table)["Table"]
        return bool(described.get("DeletionProtectionEnabled"))

    def _client(self, service: str) -> Any:
        return self.stack.client(service, read_seconds=READ_SECONDS)


def retained() -> list[str]:
    """Return the resources of template.yaml that outlive their stack."""
    kept = ("Retain", "RetainExceptOnCreate")
    return [name for name, resource in read_template()["Resources"].items() if resource.get("DeletionPolicy") in kept]


if __name__ == "__main__":
    sys.exit(main())
