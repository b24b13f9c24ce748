"""A control plane, a model and sandboxd in front of the real OpenCode."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import NODE_MODULES, ControlPlane, Sandboxd, ScriptedModel, Start, running
from identity_provider import IdentityProvider, Lender, identity_provider


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
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with identity_provider(tmp_path_factory.mktemp("idp"), "--account", "acct-1", "--delay-ms", "0") as provider:
        yield provider


@pytest.fixture(scope="module")
def online(
    model: ScriptedModel, provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandboxd]:
    """
    A sandbox that reaches the provider, shared by the tests of a module.

    What a test leaves behind the next one has to cope with, as in a thread's life. Nothing in it ever refreshes a
    token, and no token is in its log.
    """
    directory = tmp_path_factory.mktemp("online")
    # A busy machine is not what is tested.
    with running(ControlPlane(), directory, outward=provider.outward, held_seconds=60, warm_up_seconds=0) as sandboxd:
        assert sandboxd.bind(model).status_code == 200
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        yield sandboxd
        assert [sign for sign in ("eyJ", "rt_", "Traceback") if sign in sandboxd.log()] == []
        assert provider.refreshes() == []


@pytest.fixture(scope="module")
def lender(online: Sandboxd) -> Lender:
    return Lender(online)


@pytest.fixture(scope="module")
def ready(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxd]:
    """A sandbox that is ready, shared by the tests of a module."""
    directory = tmp_path_factory.mktemp("ready")
    with running(ControlPlane(), directory, heartbeat_seconds=0.5, log_events=4000, warm_up_seconds=0) as sandboxd:
        assert sandboxd.bind(model).status_code == 200
        status = sandboxd.until_ready()
        assert status["state"] == "ready", sandboxd.log()
        yield sandboxd
