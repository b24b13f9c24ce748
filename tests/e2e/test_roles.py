"""What the functions' roles allow is enough, as the embedded AWS says, which holds each function to its role here."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.stack.aws_clients import client
from local.stack.stack_file import StackFile
from tests.e2e.threads import Thread
from tests.stacks import ROOT, SCALED, own_stack, stack_file, tokens_of

pytestmark = [pytest.mark.long, pytest.mark.own_stack, pytest.mark.timeout(3000)]

SUITE_SECONDS = 2400


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Iterator[Path]:
    """The state directory of a stack that enforces IAM, else like the one that tests share."""
    with own_stack(tmp_path_factory.mktemp("roles"), SCALED | {"THREADBOX_ENFORCE_IAM": "1"}) as state:
        yield state


@pytest.fixture(scope="module")
def enforcing(state) -> StackFile:
    return stack_file(state)


def test_function_is_held_to_its_role(enforcing):
    """What is taken from the role fails, and works again when it is given back: the stack does enforce."""
    iam, functions = client("iam", enforcing.aws_url), client("lambda", enforcing.aws_url)
    role = functions.get_function_configuration(FunctionName="threadbox-chat-http")["Role"].rpartition("/")[2]
    denied = {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [denied]})
    thread = Thread(enforcing, tokens_of(enforcing))

    def asked() -> int:
        return thread.http.get(f"/agents/chat/{thread.name}/get-messages").status_code

    try:
        assert httpx.codes.OK == asked()
        iam.put_role_policy(RoleName=role, PolicyName="taken", PolicyDocument=policy)
        assert asked() >= httpx.codes.INTERNAL_SERVER_ERROR
        iam.delete_role_policy(RoleName=role, PolicyName="taken")
        assert httpx.codes.OK == asked()
    finally:
        thread.close()


def test_all_that_a_stack_does_its_roles_allow(state):
    """The end-to-end tests pass: chats, sandboxes, files, sign-ins, the vault, and what nobody asks for."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not long", "tests/e2e"],
        env=environment | {"THREADBOX_TEST_STACK": str(state / "stack.json")},
        cwd=ROOT, capture_output=True, text=True, timeout=SUITE_SECONDS, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout[-20000:]
