"""Fixtures that more than one folder of tests uses."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from local.stack.stack_file import StackFile
from local.stack.template import read_template
from tests.stacks import ROOT, SCALED, STATES, run_stack, stack_file, tokens_of

# boto3 reads these when a client is made; no test may ever reach an account.
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
)
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Threadbox")
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tests")


# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, time: float) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture(scope="session")
def template() -> dict:
    return read_template()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let test-long say that its tests need what others would share, and anyone what the table is kept in."""
    parser.addoption("--moto", action="store_true", help="unit tests on moto's table, not on one in memory")
    parser.addoption("--stack-each", action="store_true", help="a stack for each process, not one for all of them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have tests with stacks of their own begin first: among them are the longest."""
    items.sort(key=lambda item: item.get_closest_marker("own_stack") is None)


@pytest.fixture(scope="session")
def stack_state(request: pytest.FixtureRequest) -> Path:
    """The running stack's directory of state."""
    if "THREADBOX_TEST_STACK" in os.environ:
        return ROOT / ".local" / "stack"
    each = request.config.getoption("stack_each")
    return STATES / (os.environ.get("PYTEST_XDIST_WORKER", "alone") if each else "shared")


@pytest.fixture(scope="session")
def stack(stack_state: Path) -> Iterator[StackFile]:
    """
    A running stack: the one whose stack.json THREADBOX_TEST_STACK names, else one of this run's own.

    Its own is brought up by the first process that needs it, and down by the last that needed it.
    """
    given = os.environ.get("THREADBOX_TEST_STACK")
    if given is not None:
        yield StackFile.model_validate_json(Path(given).read_text())
        return
    stack_state.mkdir(parents=True, exist_ok=True)
    with (stack_state / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        done = run_stack("up", state=stack_state, settings=SCALED)
        assert done.returncode == 0, done.stderr
        yield stack_file(stack_state)
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        done = run_stack("down", state=stack_state)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def token(stack: StackFile) -> Callable[..., str]:
    """Makes session tokens: ``token("thread", "user")``."""
    return tokens_of(stack)
