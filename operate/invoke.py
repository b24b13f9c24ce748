"""
``make invoke FN=… EVENT=…``: runs a function on this machine with one of the recorded events of tests/events.

SAM's emulator runs it in docker, with the variables of the deployed function of ENV: what it reads and writes is that
stack's. It runs with your credentials, not with the function's role.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from local.stack.installs import UV
from local.stack.layout import CHECKOUT
from local.stack.template import read_template
from operate.stacks import READ_SECONDS, DeployedStack, NoStackError

EVENTS = CHECKOUT / "tests" / "events"
SAM = CHECKOUT / ".local" / "sam" / "bin" / "sam"
FUNCTION = "AWS::Serverless::Function"
NO_DOCKER = "sam local invoke runs functions in docker: there is none here. make test gives handlers the same events."


class NotInvokedError(Exception):
    """The function was not run."""


def main() -> int:
    """Run it; the exit code is SAM's."""
    parser = argparse.ArgumentParser(prog="operate.invoke", description=__doc__)
    parser.add_argument("--env", required=True, help="an environment of samconfig.toml")
    parser.add_argument("--function", required=True, help="as template.yaml names it, for example ChatHttpFunction")
    parser.add_argument("--event", required=True, help="as tests/events names it, for example http-health")
    asked = parser.parse_args()
    try:
        event = recorded(asked.function, asked.event)
        if shutil.which("docker") is None:
            raise NotInvokedError(NO_DOCKER)  # noqa: TRY301 - said as all else is
        stack = DeployedStack.of(asked.env)
        return invoke(asked.function, event, variables(stack, asked.function))
    except (NotInvokedError, NoStackError, BotoCoreError, ClientError) as error:
        print(f"make invoke failed: {error}", file=sys.stderr)
        return 1


def recorded(function: str, event: str) -> Path:
    """
    Return the file of an event that the function gets.

    Raises:
        NotInvokedError: there is no such function or event; says which there are.
    """
    resources = read_template()["Resources"]
    functions = sorted(name for name, resource in resources.items() if resource["Type"] == FUNCTION)
    if function not in functions:
        raise NotInvokedError(f"FN is one of: {', '.join(functions)}")
    path = EVENTS / f"{event}.json"
    if path not in EVENTS.glob("*.json"):
        raise NotInvokedError(f"EVENT is one of: {', '.join(sorted(file.stem for file in EVENTS.glob('*.json')))}")
    return path


def variables(stack: DeployedStack, function: str) -> dict[str, str]:
    """Return what the deployed function is configured with."""
    found = stack.client("cloudformation", read_seconds=READ_SECONDS).describe_stack_resource(
        StackName=stack.name, LogicalResourceId=function
    )
    name = found["StackResourceDetail"]["PhysicalResourceId"]
    deployed = stack.client("lambda", read_seconds=READ_SECONDS).get_function_configuration(FunctionName=name)
    given: dict[str, str] = deployed["Environment"]["Variables"]
    return given


def invoke(function: str, event: Path, given: Mapping[str, str]) -> int:
    """Build, and run the function in SAM's emulator; return its exit code."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"Parameters": dict(given)}, file)
        file.flush()
        environment = os.environ | {"PATH": f"{UV.parent}:{os.environ.get('PATH', os.defpath)}"}
        build = subprocess.run([str(SAM), "build", function, "--cached"], cwd=CHECKOUT, env=environment, check=False)
        if build.returncode:
            return build.returncode
        command = [str(SAM), "local", "invoke", function, "--event", str(event), "--env-vars", file.name]
        return subprocess.run(command, cwd=CHECKOUT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
