"""The steps of the machine that waits: each end is written once, told to every socket, and ended in the sandbox."""

import subprocess
import sys

import pytest

from oauth_proxy.signin import Status
from tests.unit.signing_in import THREAD, SigningIn


@pytest.fixture
def signing_in(table, clock):
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
    assert ("acct-1", 2_000_000_000, 1) == (grant.account_id, grant.expires_at, grant.generation)
    assert ("connected", True) == (signing_in.row().status, signing_in.row().settled)
    assert (1, 0) == (signing_in.sandbox.count("POST", "accept"), signing_in.sandbox.count("DELETE", ""))
    assert ["pending", "pending", "connected"] == signing_in.told()


def test_step_repeated_after_a_crash_accepts(signing_in):
    """What was stored and not yet accepted is, by whichever step comes next; once."""
    signing_in.sandbox.status = "approved"
    signing_in.step("wait")
    signing_in.signins.table.update_item(Key={"thread_id": THREAD, "sk": "SIGNIN"}, UpdateExpression="REMOVE settled")
    assert ["connected", "connected"] == [signing_in.step("fail"), signing_in.step("wait")]
    assert 2 == signing_in.sandbox.count("POST", "accept")


def test_sandbox_that_dies_before_it_accepts_is_connected_no_less(signing_in):
    """The outcome is stored; its generation says that a new sandbox has no part in it."""
    signing_in.sandbox.status = "approved"
    signing_in.sandbox.meanwhile = lambda: setattr(signing_in.control, "gone", True)
    assert "connected" == signing_in.step("wait")
    assert signing_in.row().settled


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
