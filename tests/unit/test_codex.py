"""The Codex connection as the control plane sees it, on real stores and a scripted sandboxd: what that is lent."""

import pytest
from botocore.exceptions import ClientError

from sandbox_ctl.loans import KEPT_SECONDS
from sandbox_ctl.sandboxes import State
from sandbox_ctl.starts import CLAIM_LIMIT
from tests.controlling import Controlling
from threadbox.control import Access, Starting
from threadbox.errors import OpenCodeError, VaultUnreadableError

DENIED = ClientError({"Error": {"Code": "AccessDeniedException"}}, "Decrypt")
OFF = {"connected": False, "account_id": None, "expires_at": None, "reconnect_required": False}


@pytest.fixture
def controlling(table, clock, kms, key_id):
    return Controlling(table, clock, kms=kms, key_id=key_id)


@pytest.fixture
def service(controlling):
    return controlling.service


@pytest.fixture
def connected(controlling):
    """A thread whose sandbox runs and was lent from its grant."""
    controlling.connects()
    controlling.runs()
    return controlling.grant()


def ensure(controlling, **options):
    return controlling.service.ensure("t", scope="turn", **options)


def disconnect(controlling):
    return controlling.perform("disconnect", thread_id="t")


def test_thread_without_a_grant_is_not_connected(service):
    """And need not reconnect."""
    assert service.status("t").codex.model_dump() == OFF


def test_connection_outlives_the_sandbox(controlling, connected):
    """A sandbox borrows from it; whether one runs does not matter."""
    told = controlling.service.status("t").codex
    controlling.ends()
    assert (True, "acct-1", connected.expires_at, False) == tuple(told.model_dump().values())
    assert told == controlling.service.status("t").codex


def test_sandbox_is_bound_with_the_access_token(controlling):
    """Opened before there is a task, and once for the whole start; the refresh token stays where it is."""
    grant = controlling.connects()
    controlling.kms.calls.clear()
    controlling.runs()

    (loan,) = controlling.daemon.lent
    assert ("at_first", grant.expires_at, "acct-1", grant.version) == (
        loan.access_token.get_secret_value(), loan.expires_at, loan.account_id, loan.version,
    )  # fmt: skip
    assert ["Decrypt"] == controlling.kms.calls
    assert (1, grant.version) == (controlling.grant().held_by, controlling.grant().held_version)


def test_warm_turn_asks_neither_kms_nor_the_sandbox(controlling, connected, clock):
    """And hears when it is worth asking again."""
    controlling.kms.calls.clear()
    access = ensure(controlling)
    assert ("connected", connected.version, connected.renew_at) == (
        access.codex.state, access.codex.version, access.codex.renew_at,
    )  # fmt: skip
    assert ([], 1) == (controlling.kms.calls, len(controlling.daemon.lent))


def test_sandbox_without_the_latest_tokens_is_lent_them(controlling, connected):
    """After a sign-in whose end it did not hear of, or a refresh by somebody who died before lending."""
    controlling.connects()
    ensure(controlling)
    ensure(controlling)
    assert [connected.version, controlling.grant().version] == [loan.version for loan in controlling.daemon.lent]


def test_due_token_is_refreshed_then_lent(controlling, connected, clock):
    """In ensure, at the start of a turn or in the middle of one."""
    clock.time = connected.renew_at
    access = ensure(controlling)
    assert ("at_1", controlling.grant().version) == (
        controlling.daemon.lent[-1].access_token.get_secret_value(), access.codex.version,
    )  # fmt: skip


def test_start_refreshes_what_is_due_before_there_is_a_task(controlling, clock):
    """So that the first prompt has a token that lives; twenty cold starts in a row, with a refresh in each."""
    controlling.connects(life=20)
    controlling.provider.life = 20
    for _ in range(20):
        clock.time += 60
        assert isinstance(ensure(controlling), Starting)
        controlling.launcher.runs(controlling.service.get("t").task_arn)
        assert isinstance(ensure(controlling), Access)
        controlling.ends()
    assert 20 == len(controlling.provider.redeemed) == len(controlling.daemon.lent)


def test_grant_that_cannot_be_opened_stops_the_start(controlling):
    """Before RunTask, with an error and a count; the row stays, and it starts once it opens again."""
    controlling.connects()
    controlling.kms.failure = DENIED
    for scope in ("turn", "signin"):
        with pytest.raises(VaultUnreadableError):
            controlling.service.ensure("t", scope=scope)
    assert ({}, 2) == (controlling.launcher.tasks, len(controlling.unreadable))

    controlling.kms.failure = None
    assert isinstance(ensure(controlling), Starting)


def test_grant_is_opened_for_every_start(controlling):
    """What is known from a start before counts for that one: a key that was locked since then stops the next."""
    controlling.connects()
    controlling.runs()
    controlling.ends()
    controlling.kms.failure = DENIED
    with pytest.raises(VaultUnreadableError):
        ensure(controlling)


@pytest.mark.parametrize("refresh_due", [False, True])
def test_start_costs_one_decrypt(controlling, clock, refresh_due):
    """And with a refresh one data key more."""
    grant = controlling.connects()
    clock.time = grant.renew_at if refresh_due else clock.time
    controlling.kms.calls.clear()
    ensure(controlling)
    controlling.launcher.runs(controlling.service.get("t").task_arn)
    ensure(controlling)
    assert ["Decrypt", *(["GenerateDataKey"] if refresh_due else [])] == controlling.kms.calls


@pytest.mark.parametrize("field", ["sealed", "account_id", "expires_at"])
def test_tampered_row_stops_the_start(controlling, table, field):
    """What stands in the clear is bound, too."""
    controlling.connects()
    changed = {"sealed": {}, "account_id": "acct-2", "expires_at": 2_000_000_000}[field]
    table.update_item(
        Key={"thread_id": "t", "sk": "GRANT#openai"},
        UpdateExpression=f"SET {field} = :changed",
        ExpressionAttributeValues={":changed": changed},
    )
    with pytest.raises(VaultUnreadableError):
        ensure(controlling)


def test_row_without_tokens_stops_the_start(controlling, table):
    """As one that holds what cannot be opened; not as if the thread had never been connected."""
    item = {"thread_id": "t", "sk": "GRANT#openai", "account_id": "acct-1", "expires_at": 2_000_000_000, "version": 1}
    table.put_item(Item=item)
    with pytest.raises(VaultUnreadableError):
        ensure(controlling)
    assert controlling.perform("disconnect", thread_id="t").disconnected.removed
    assert isinstance(ensure(controlling), Starting)


def test_row_of_another_thread_stops_the_start(controlling, table):
    """Copied there, with everything that stands in it."""
    controlling.connects("u", owner="bob")
    item = table.get_item(Key={"thread_id": "u", "sk": "GRANT#openai"})["Item"]
    controlling.threads.claim("t", user_id="bob")
    table.put_item(Item={**item, "thread_id": "t"})
    with pytest.raises(VaultUnreadableError):
        ensure(controlling)


def test_grant_that_stops_opening_during_a_start_ends_it(controlling, clock):
    """Its task is stopped after a minute; the next generation has none, and the start fails with the reason."""
    controlling.connects()
    ensure(controlling)
    arn = controlling.service.get("t").task_arn
    controlling.kms.failure = DENIED
    clock.time += KEPT_SECONDS + 1
    controlling.launcher.runs(arn)
    ensure(controlling)
    clock.time += CLAIM_LIMIT + 1
    ensure(controlling)
    assert ([arn], []) == (controlling.launcher.stopped, controlling.daemon.bound)

    controlling.launcher.ends(arn)
    controlling.service.task_changed("t", arn)
    sandbox = controlling.service.get("t")
    assert (State.FAILED, 2, [arn]) == (sandbox.state, sandbox.generation, list(controlling.launcher.tasks))
    assert "stored sign-in" in sandbox.reason


def test_living_token_serves_on_when_the_vault_does_not(controlling, connected, clock):
    """A refresh that fails matters once the token is over; then the turn is refused, not answered by something else."""
    clock.time = connected.renew_at
    controlling.kms.failure = DENIED
    assert "connected" == ensure(controlling).codex.state
    clock.time = connected.expires_at
    with pytest.raises(VaultUnreadableError):
        ensure(controlling)


def test_provider_that_is_down_past_the_tokens_end_is_said(controlling, connected, clock):
    """The grant is kept, and the same ensure has it again when the provider is back."""
    controlling.provider.mode = "down"
    clock.time = connected.expires_at
    codex = ensure(controlling).codex
    assert ("unavailable", int(clock()) + 1) == (codex.state, codex.renew_at)

    controlling.provider.mode, clock.time = "ok", codex.renew_at
    assert "connected" == ensure(controlling).codex.state


def test_sandbox_starts_while_the_provider_is_down(controlling, clock):
    """The turn hears that there is no token just now; the sandbox is lent one as soon as there is."""
    grant = controlling.connects()
    clock.time = grant.expires_at
    controlling.provider.mode = "down"
    controlling.runs()
    assert "unavailable" == ensure(controlling).codex.state
    assert [] == controlling.daemon.lent

    controlling.provider.mode = "ok"
    clock.time += 5
    assert "connected" == ensure(controlling).codex.state
    assert ["at_1"] == [loan.access_token.get_secret_value() for loan in controlling.daemon.lent]


def test_ended_grant_asks_for_its_user(controlling, connected, clock):
    """The provider's word counts at once, however long the token should live; signing in again mends it."""
    controlling.provider.refusal = "refresh_token_invalidated"
    clock.time = connected.renew_at
    access = ensure(controlling)
    assert ("reconnect_required", None) == (access.codex.state, access.codex.renew_at)
    assert (False, True) == (
        (told := controlling.service.status("t").codex).connected, told.reconnect_required,
    )  # fmt: skip

    controlling.connects()
    assert "connected" == ensure(controlling).codex.state


def test_sign_in_can_start_a_sandbox_for_an_ended_grant(controlling, connected, clock):
    """There has to be one to sign in again; it is lent nothing."""
    controlling.ends()
    controlling.provider.refusal = "invalid_grant"
    clock.time = connected.renew_at
    ensure(controlling)
    controlling.launcher.runs(controlling.service.get("t").task_arn)
    assert isinstance(controlling.service.ensure("t", scope="signin"), Access)
    assert 1 == len(controlling.daemon.lent), "the first sandbox's"


def test_sandbox_that_does_not_take_the_token_and_has_ended_is_replaced(controlling, connected, clock):
    """A task that died unnoticed is found out by the lending."""
    clock.time = connected.renew_at
    controlling.daemon.silent = True
    with pytest.raises(OpenCodeError):
        ensure(controlling)
    controlling.launcher.ends(controlling.service.get("t").task_arn)
    assert 2 == ensure(controlling).generation


def test_disconnect_takes_it_from_sandbox_row_and_provider(controlling, connected):
    """In this order; again there is nothing."""
    assert disconnect(controlling).disconnected.removed
    assert (["openai"], None, ["rt_0"]) == (
        controlling.daemon.removed, controlling.grants.find("t"), controlling.provider.revoked,
    )  # fmt: skip
    assert not disconnect(controlling).disconnected.removed
    assert ensure(controlling).codex is None


def test_disconnect_without_a_sandbox_removes_the_row(controlling, connected):
    """What does not run has nothing to let go of."""
    controlling.ends()
    assert disconnect(controlling).disconnected.removed
    assert ([], None, ["rt_0"]) == (
        controlling.daemon.removed, controlling.grants.find("t"), controlling.provider.revoked,
    )  # fmt: skip


def test_disconnect_works_for_a_grant_that_does_not_open(controlling, connected):
    """It is the way on from an unreadable row; revoking takes what is in it, so that is left."""
    controlling.kms.failure = DENIED
    assert disconnect(controlling).disconnected.removed
    assert (None, []) == (controlling.grants.find("t"), controlling.provider.revoked)


def test_sandbox_that_does_not_let_go_keeps_the_row(controlling, connected):
    """Nobody is told that it is gone while the agent can still use it."""
    controlling.daemon.silent = True
    assert "opencode_error" == disconnect(controlling).error.code
    assert controlling.grants.find("t") is not None


def test_sandbox_that_ended_unnoticed_does_not_stand_in_the_way(controlling, connected):
    """ECS is asked about one that does not answer."""
    controlling.daemon.silent = True
    controlling.launcher.ends(controlling.service.get("t").task_arn)
    assert disconnect(controlling).disconnected.removed
    assert controlling.grants.find("t") is None


def test_refresh_during_a_disconnect_leaves_nothing(controlling, connected):
    """The row that changed is looked at again, and the newer version taken from the sandbox as well."""

    def refreshed():
        controlling.daemon.meanwhile = lambda: None
        controlling.connects(refresh_token="rt_newer")

    controlling.daemon.meanwhile = refreshed
    assert disconnect(controlling).disconnected.removed
    assert (None, ["openai", "openai"], ["rt_newer"]) == (
        controlling.grants.find("t"), controlling.daemon.removed, controlling.provider.revoked,
    )  # fmt: skip


def test_disconnect_during_a_start_leaves_nothing_in_the_sandbox(controlling):
    """It was bound with a token that is nobody's any more when it is ready."""
    controlling.connects()
    controlling.daemon.ready = False
    ensure(controlling)
    controlling.launcher.runs(controlling.service.get("t").task_arn)
    ensure(controlling)
    assert 1 == len(controlling.daemon.lent)
    disconnect(controlling)

    controlling.daemon.ready = True
    assert ensure(controlling).codex is None
    assert (["openai"], None) == (controlling.daemon.removed, controlling.daemon.held)
