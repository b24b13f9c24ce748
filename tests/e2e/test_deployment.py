"""Another version, deployed by the same tools in the middle of an answer."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from local.stack.stack_file import StackFile
from tests.e2e.threads import Thread
from tests.stacks import ROOT, SETTINGS, own_stack, stack_file, tokens_of

pytestmark = [pytest.mark.long, pytest.mark.own_stack]

WORDS = 900
"""Enough for the deployment to end before the answer does, at ten a second."""
DEPLOY_SECONDS = 240
OTHER = "0.0.0+other"
VERSION = Path("layers/common/src/threadbox/__init__.py")
# What `make up` does for functions, and nothing else: the other parts of the stack run on.
DEPLOY = """
from local.stack.deploy import Deployment
from local.stack.layout import Layout
from local.stack.ports import Ports
from local.stack.settings import Settings
settings = Settings()
layout = Layout.of(settings.threadbox_state)
deployment = Deployment(layout, Ports(int((layout.state / "port-base").read_text())), settings)
deployment.build()
deployment.deploy()
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Iterator[Path]:
    """The state directory of a stack of its own, which has this checkout's version."""
    with own_stack(tmp_path_factory.mktemp("deployment")) as state:
        yield state


@pytest.fixture(scope="module")
def stack(state) -> StackFile:
    return stack_file(state)


@pytest.fixture
def other_version(tmp_path) -> Path:
    """A checkout that differs from this one in its version alone; the tools are this one's."""
    checkout = tmp_path / "checkout"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    (checkout / ".local").symlink_to(ROOT / ".local")
    text = (checkout / VERSION).read_text()
    changed, count = re.subn(r'__version__ = "[^"]+"', f'__version__ = "{OTHER}"', text)
    assert count == 1
    (checkout / VERSION).write_text(changed)
    return checkout


def version(stack: StackFile) -> str:
    """The version that answers."""
    return httpx.get(f"{stack.http_url}/health", timeout=30).raise_for_status().json()["version"]


def deploy(checkout: Path, state: Path) -> None:
    """Build and deploy that checkout to the stack in *state*."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    done = subprocess.run(
        [sys.executable, "-c", DEPLOY],
        cwd=checkout, env=environment | {"THREADBOX_STATE": str(state), "PYTHONPATH": str(checkout)},
        capture_output=True, text=True, timeout=DEPLOY_SECONDS, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr


def test_answer_ends_well_when_another_version_is_deployed_meanwhile(stack, state, other_version):
    """No word is lost or doubled, what is stored is whole, and the thread goes on with the new version."""
    before = version(stack)
    assert before != OTHER
    with closing(Thread(stack, tokens_of(stack))) as thread, thread.tab() as tab:
        tab.answer(tab.ask("say hello"))
        request = tab.ask(f"stream {WORDS} words every 100 ms")
        tab.until("text-delta")

        deploy(other_version, state)

        assert version(stack) == OTHER
        answer = tab.answer(request, seconds=300)
        expected = [f"word{n}" for n in range(1, WORDS + 1)]
        assert "completed" == answer.outcome
        assert expected == thread.texts()[3].split()
        assert "still here" == tab.answer(tab.ask("say still here")).text
