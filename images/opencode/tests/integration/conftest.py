"""A control plane, a model and sandboxd in front of the real OpenCode."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import NODE_MODULES, ControlPlane, Sandboxd, ScriptedModel, Start, running


@pytest.fixture(scope="session", autouse=True)
def _opencode_is_installed() -> None:
    if not NODE_MODULES.is_dir():
        pytest.exit(f"OpenCode is not installed: npm ci --ignore-scripts --prefix {NODE_MODULES.parent}", 2)


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    model = ScriptedModel()
    yield model
    model.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory other users may pass through, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="sandboxd-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def start(directory: Path) -> Start:
    """Starts a sandboxd for one test."""
    return lambda **settings: running(ControlPlane(), directory, **settings)


@pytest.fixture(scope="module")
def ready(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxd]:
    """A sandbox that is ready, shared by the tests of a module."""
    directory = tmp_path_factory.mktemp("ready")
    with running(ControlPlane(), directory, heartbeat_seconds=0.5, log_events=4000) as sandboxd:
        assert sandboxd.bind(model).status_code == 200
        status = sandboxd.until_ready()
        assert status["state"] == "ready", sandboxd.log()
        yield sandboxd
