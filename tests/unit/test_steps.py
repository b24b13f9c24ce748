"""The steps of the machine that waits: each end is written once, told to every socket, and ended in the sandbox."""

import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

from oauth_proxy.signin import Status
from oauth_proxy.steps import STORE_PAUSE
from tests.unit.signing_in import THREAD, SigningIn


@pytest.fixture
def signing_in(aws, table, clock):
    signing_in = SigningIn(table, clock)
    signing_in.opens_socket()
    signing_in.authorize().raise_for_status()
    return signing_in


def test_wait_is_begun_in_the_sandbox(signing_in):
    """OpenCode's callback is called there, however often the step is repeated; sandboxd makes it one."""
    assert ["pending", "pending"] == [signing_in.step("begin"), signing_in.step("begin")]
    assert 2 == signing_in.sandbox.count("POST", "callback")


def test_slice_that_saw_nothing_goes_on(signing_in):
    """Every socket hears it, which counts as watching."""
    signing_in.clock.time += 100
    assert "pending" == signing_in.step("wait")
    assert (["pending", "pending"], int(signing_in.clock())) == (signing_in.told(), signing_in.row().watched_at)


def test_approval_is_stored_then_accepted_then_told(signing_in):
    """Grant and end in one write; then the sandbox may use it, and the sockets hear whose account it is."""
    signing_in.sandbox.status = "approved"
    assert "connected" == signing_in.step("wait")

    grant = signing_in.grants.find(THREAD)
    assert ("acct-1", 2_000_000_000) == (grant.account_id, grant.expires_at)
    assert (1, grant.version) == (grant.held_by, grant.held_version)
    assert ("connected", True) == (signing_in.row().status, signing_in.row().settled)
    assert (1, 0) == (signing_in.sandbox.count("POST", "accept"), signing_in.sandbox.count("DELETE", ""))
    assert ["pending", "pending", "connected"] == signing_in.told()


def test_tokens_are_sealed_and_nowhere_else(signing_in, table):
    """Neither in the row in the clear, nor in what the step answers; this function seals, and asks KMS once for it."""
    signing_in.sandbox.status = "approved"
    answer = signing_in.step("wait")

    opened = signing_in.opened()
    assert ("at_approved", "rt_approved") == (
        opened.access_token.get_secret_value(),
        opened.refresh_token.get_secret_value(),
    )
    assert "_approved" not in repr(table.scan()["Items"]) + str(answer)
    assert ["GenerateDataKey", "Decrypt"] == signing_in.kms.calls, "the latter is the test's"


def test_vault_that_cannot_seal_now_is_asked_again(signing_in):
    """What was approved waits in the sandbox, and the attempt goes on, with a pause before the next try."""
    signing_in.sandbox.status = "approved"
    signing_in.kms.failure = ClientError({"Error": {"Code": "ThrottlingException"}}, "GenerateDataKey")
    assert "pending" == signing_in.step("wait")
    assert (None, 0) == (signing_in.grants.find(THREAD), signing_in.sandbox.count("DELETE", ""))
    assert [STORE_PAUSE] == signing_in.pauses

    signing_in.kms.failure = None
    assert "connected" == signing_in.step("wait")


def test_grant_refreshed_in_the_same_moment_is_looked_at_again(signing_in, table):
    """Of two writers of one row each stores on what it saw; the sign-in's tokens are the later ones."""
    signing_in.approves()
    before = signing_in.grants.find(THREAD)
    signing_in.authorize()

    def refreshed():
        signing_in.kms.meanwhile = lambda: None
        table.update_item(
            Key={"thread_id": THREAD, "sk": "GRANT#openai"},
            UpdateExpression="ADD version :one",
            ExpressionAttributeValues={":one": 1},
        )

    signing_in.kms.meanwhile = refreshed
    assert "connected" == signing_in.step("wait")
    assert signing_in.grants.find(THREAD).version > before.version + 1


def test_step_repeated_after_a_crash_accepts(signing_in):
    """What was stored and not yet accepted is, by whichever step comes next; once."""
    signing_in.sandbox.status = "approved"
    signing_in.step("wait")
    signing_in.unsettles()
    assert ["connected", "connected"] == [signing_in.step("fail"), signing_in.step("wait")]
    assert 2 == signing_in.sandbox.count("POST", "accept")


def test_step_killed_anywhere_loses_nothing(signing_in):
    """Before it read, sealed, stored or accepted: whichever step comes next goes on with what the sandbox still has."""

    class KilledError(BaseException):
        pass

    def kill(*_args, **_named):
        raise KilledError

    signing_in.sandbox.status = "approved"
    places = [(signing_in.kms, "generate_data_key"), (signing_in.table.meta.client, "transact_write_items")]
    for owner, name in places:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, kill)
            with pytest.raises(KilledError):
                signing_in.step("wait")
    signing_in.sandbox.meanwhile = lambda: kill() if signing_in.sandbox.calls[-1][1] == "accept" else None
    with pytest.raises(KilledError):
        signing_in.step("wait")

    signing_in.sandbox.meanwhile = lambda: None
    assert "connected" == signing_in.step("fail")
    assert "rt_approved" == signing_in.opened().refresh_token.get_secret_value()


def test_sandbox_that_dies_before_it_accepts_is_connected_no_less(signing_in):
    """The outcome is stored; a new sandbox is lent from it."""
    signing_in.sandbox.status = "approved"
    signing_in.sandbox.meanwhile = lambda: setattr(
        signing_in.control, "gone", signing_in.sandbox.calls[-1] == ("GET", "tokens")
    )
    assert "connected" == signing_in.step("wait")
    assert (True, None) == (signing_in.row().settled, signing_in.grants.find(THREAD).held_by)


def test_sandbox_that_dies_with_what_was_approved_has_failed(signing_in):
    """Nobody has it then; nothing is stored, and the user is told to start again."""
    signing_in.sandbox.status = "approved"
    signing_in.sandbox.meanwhile = lambda: setattr(signing_in.control, "gone", True)
    assert "failed" == signing_in.step("wait")
    assert signing_in.grants.find(THREAD) is None


@pytest.mark.parametrize("status", ["denied", "failed", "timed_out", "cancelled"])
def test_each_end_in_the_sandbox_is_one_here(signing_in, status):
    """Written, told, and called off where it runs."""
    signing_in.sandbox.status = status
    assert status == signing_in.step("wait")
    assert (status, 1) == (signing_in.row().status, signing_in.sandbox.count("DELETE", ""))
    assert ["pending", "pending", status] == signing_in.told()


def test_another_account_is_not_kept(signing_in):
    """Unless it was meant to replace the one before, it is taken back in the sandbox."""
    signing_in.sandbox.status = "approved"
    signing_in.step("wait")
    signing_in.sandbox.account_id = "acct-2"
    signing_in.authorize()
    assert "mismatch" == signing_in.step("wait")
    assert ("acct-1", 1) == (signing_in.grants.find(THREAD).account_id, signing_in.sandbox.count("DELETE", ""))

    signing_in.authorize(replace=True)
    assert "connected" == signing_in.step("wait")
    assert "acct-2" == signing_in.grants.find(THREAD).account_id


def test_nobody_watched(signing_in):
    """After ten minutes without a socket, a callback or a look it is called off; until then slices fit the deadline."""
    signing_in.connections.gone.add("c1")
    signing_in.clock.time += 599
    assert "pending" == signing_in.step("wait")
    signing_in.clock.time += 1
    assert "abandoned" == signing_in.step("wait")
    assert ("abandoned", 1) == (signing_in.row().status, signing_in.sandbox.count("DELETE", ""))


def test_deadline_ends_it(signing_in):
    """Called off in the sandbox as well, and told."""
    signing_in.clock.time += 900
    assert "timed_out" == signing_in.step("wait")
    assert ("timed_out", 1) == (signing_in.row().status, signing_in.sandbox.count("DELETE", ""))
    assert "timed_out" == signing_in.told()[-1]


def test_end_by_somebody_else_is_found(signing_in):
    """A cancel during the slice stays a cancel, though the approval came meanwhile; what it brought is taken back."""
    signing_in.sandbox.status = "approved"
    signing_in.sandbox.meanwhile = lambda: signing_in.signins.end(THREAD, signing_in.row().attempt_id, Status.CANCELLED)
    assert "cancelled" == signing_in.step("wait")
    assert signing_in.grants.find(THREAD) is None
    assert (0, 1) == (signing_in.sandbox.count("POST", "accept"), signing_in.sandbox.count("DELETE", ""))


def test_superseded_attempt_is_called_off(signing_in):
    """Its machine finds another attempt in its place."""
    old = signing_in.row().attempt_id
    signing_in.authorize(0)
    assert "superseded" == signing_in.step("wait", old)
    assert 1 == signing_in.sandbox.count("DELETE", "")


def test_deleted_thread_ends_its_machine(signing_in):
    """There is nothing to write to."""
    attempt = signing_in.row().attempt_id
    signing_in.signins.table.delete_item(Key={"thread_id": THREAD, "sk": "SIGNIN"})
    assert "cancelled" == signing_in.step("wait", attempt)


def test_broken_connection_is_tried_once_more(signing_in):
    """A blip ends nothing."""
    signing_in.sandbox.breaks = 1
    assert "pending" == signing_in.step("wait")


@pytest.mark.parametrize(("gone", "breaks"), [(False, 2), (True, 0)])
def test_sandbox_that_is_gone_ends_it(signing_in, gone, breaks):
    """Whether sandbox_ctl knows that already or not."""
    signing_in.control.gone, signing_in.sandbox.breaks = gone, breaks
    assert "failed" == signing_in.step("wait")
    assert "failed" == signing_in.told()[-1]


def test_step_that_broke_down_ends_it(signing_in):
    """The machine's last resort; of what has ended already nothing changes."""
    assert "failed" == signing_in.step("fail")
    assert "failed" == signing_in.step("fail")
    assert ["pending", "failed"] == signing_in.told()


def test_steps_start_without_the_http_side():
    """They have little memory, and wait for most of their time."""
    code = "import sys, oauth_proxy.steps, oauth_proxy.authorize; sys.exit('fastapi' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
