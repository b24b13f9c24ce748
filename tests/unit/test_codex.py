"""The Codex connection as the control plane sees it, with real stores on moto and a scripted sandboxd."""

import pytest

from sandbox_ctl.callkeys import CallSigner
from sandbox_ctl.codex import CodexService
from sandbox_ctl.models import ModelAccess
from sandbox_ctl.operations import perform
from sandbox_ctl.sandboxes import SandboxStore
from sandbox_ctl.service import SandboxService
from sandbox_ctl.starts import Starter
from tests.fakes import FakeDaemon, FakeLauncher, secret
from threadbox.control import Reply
from threadbox.grants import Grant, GrantStore


@pytest.fixture
def launcher():
    return FakeLauncher()


@pytest.fixture
def daemon():
    return FakeDaemon()


@pytest.fixture
def grants(table):
    return GrantStore(table=table)


@pytest.fixture
def service(table, clock, launcher, daemon, grants):
    store = SandboxStore(table=table, now=clock)
    return SandboxService(
        store=store,
        grants=grants,
        starter=Starter(store=store, launcher=launcher, daemon=daemon, models=ModelAccess, now=clock),
        signer=CallSigner(secret=secret({"key": "k" * 64}), now=clock),
        task_definition="sandbox:1",
    )


@pytest.fixture
def codex(service, daemon, grants):
    return CodexService(grants=grants, store=service.store, sandboxes=service, daemon=daemon)


@pytest.fixture
def connected(service, launcher, table, grants):
    """A thread whose sandbox runs and has the grant."""
    service.ensure("t", scope="signin")
    launcher.runs("arn:task/1")
    service.ensure("t", scope="signin")
    grant = Grant(thread_id="t", account_id="acct-1", expires_at=2_000_000_000, generation=1)
    table.meta.client.transact_write_items(TransactItems=[grants.write(grant, replace=False)])


def disconnect(service, codex):
    return Reply.model_validate(perform(service, codex, {"operation": "disconnect", "thread_id": "t"}))


def test_thread_without_a_grant_is_not_connected(service):
    """And need not reconnect."""
    assert {"connected": False, "account_id": None, "expires_at": None, "reconnect_required": False} == service.status(
        "t"
    ).codex.model_dump()


def test_connection_lives_in_the_sandbox_that_has_the_tokens(service, connected, launcher):
    """While that one runs it is connected; afterwards it takes another sign-in."""
    told = service.status("t").codex
    assert (True, "acct-1", 2_000_000_000, False) == tuple(told.model_dump().values())

    launcher.ends("arn:task/1")
    service.task_changed("t", "arn:task/1")
    assert (False, True) == ((told := service.status("t").codex).connected, told.reconnect_required)
    service.ensure("t", scope="turn")
    launcher.runs("arn:task/2")
    service.ensure("t", scope="turn")
    assert service.status("t").codex.reconnect_required


def test_disconnect_takes_it_from_sandbox_and_row(service, codex, connected, daemon, grants):
    """The sandbox first; again there is nothing."""
    assert disconnect(service, codex).disconnected.removed
    assert (["openai"], None) == (daemon.removed, grants.find("t"))


def test_disconnect_without_a_sandbox_removes_the_row(service, codex, connected, launcher, grants, daemon):
    """What does not run has nothing to let go of."""
    launcher.ends("arn:task/1")
    service.task_changed("t", "arn:task/1")
    assert disconnect(service, codex).disconnected.removed
    assert not disconnect(service, codex).disconnected.removed
    assert ([], None) == (daemon.removed, grants.find("t"))


def test_sandbox_that_does_not_let_go_keeps_the_row(service, codex, connected, daemon, grants):
    """Nobody is told that it is gone while the agent can still use it."""
    daemon.silent = True
    assert "opencode_error" == disconnect(service, codex).error.code
    assert grants.find("t") is not None


def test_sandbox_that_ended_unnoticed_does_not_stand_in_the_way(service, codex, connected, daemon, launcher, grants):
    """ECS is asked about one that does not answer."""
    daemon.silent = True
    launcher.ends("arn:task/1")
    assert disconnect(service, codex).disconnected.removed
    assert grants.find("t") is None
