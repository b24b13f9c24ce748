"""The operators' commands that go through a whole deployed stack, against the local one."""

import os
import re
import subprocess
import sys

import pytest

from tests.stacks import ROOT

SMOKE_SECONDS = 180


@pytest.fixture
def operate(stack_state):
    """Runs a command of operators' on the running stack; returns what it printed."""

    def operate(module: str, *options: str) -> str:
        environment = os.environ | (
            {} if "THREADBOX_TEST_STACK" in os.environ else {"THREADBOX_STATE": str(stack_state)}
        )
        done = subprocess.run(
            [sys.executable, "-m", f"operate.{module}", "--env", "local", *options],
            cwd=ROOT, env=os.environ | own, capture_output=True, text=True, timeout=SMOKE_SECONDS, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    return operate


def test_smoke_goes_through_everything_a_user_does(stack, operate):
    """A line for each step, in order; nothing of the thread is left."""
    told = operate("smoke")

    steps = re.findall(r"^ok +(\w+) +\d+\.\d\d s", told, re.MULTILINE)
    assert ["health", "session", "answer", "history", "stop", "delete"] == steps
    assert "removed: 2 messages" in told


def test_outputs_are_those_of_the_running_stack(stack, operate):
    """The page's three lines lead to where the stack answers."""
    told = operate("outputs")

    assert f'http: "{stack.http_url}"' in told
    assert stack.outputs["SessionSecretArn"] in told
