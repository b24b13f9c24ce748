"""Fixtures that more than one folder of tests uses."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import yaml

from local.stack.session_token import session_token
from local.stack.stack_file import StackFile
from tests.stacks import ROOT, SCALED, STATE, run_stack, stack_file

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


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's tags (!Ref and its siblings) as what is behind them."""


def _tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]


_Loader.add_multi_constructor("!", _tag)


@pytest.fixture(scope="session")
def template() -> dict:
    return yaml.load((ROOT / "template.yaml").read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader with CloudFormation's tags


@pytest.fixture(scope="session")
def stack() -> Iterator[StackFile]:
    """
    A running stack: the one whose stack.json THREADBOX_TEST_STACK names, else one of this run's own.

    Its own is brought up by the first process that needs it, and down by the last that needed it.
    """
    given = os.environ.get("THREADBOX_TEST_STACK")
    if given is not None:
        yield StackFile.model_validate_json(Path(given).read_text())
        return
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        done = run_stack("up", state=STATE, settings=SCALED)
        assert done.returncode == 0, done.stderr
        yield stack_file(STATE)
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        done = run_stack("down", state=STATE)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def token(stack: StackFile) -> Callable[..., str]:
    """Makes session tokens: ``token("thread", "user")``."""

    def make(thread: str, user: str, ttl: int = 900) -> str:
        return session_token(stack, thread=thread, user=user, ttl=ttl)

    return make


@pytest.fixture(scope="session")
def stack_state(stack: StackFile) -> Path:
    """The running stack's directory of state."""
    given = os.environ.get("THREADBOX_TEST_STACK")
    return STATE if given is None else ROOT / ".local" / "stack"
