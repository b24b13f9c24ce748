"""A thread's tool policy on its way from its user to the sandbox."""

import pytest

from chat.app import create_app
from chat.tool_policy import ToolPolicyService
from sandbox_ctl.sandboxes import State
from tests.asgi import AsgiClient
from tests.controlling import OWNER, Controlling
from threadbox.control import Access
from threadbox.errors import NotFoundError, OpenCodeError, SandboxUnavailableError
from threadbox.policies import Policy, ToolPolicy
from threadbox.sessions import Session

NONE, READ_ONLY, READ_WRITE = ToolPolicy


@pytest.fixture
def controlling(table, clock):
    controlling = Controlling(table, clock)
    controlling.threads.claim("t", user_id=OWNER)
    return controlling


def turn(controlling):
    """Have a turn ask for the sandbox."""
    return controlling.service.ensure("t", scope="turn")


def test_thread_without_a_choice_is_as_ever(controlling):
    """Nobody has to choose, and a sandbox is told nothing."""
    controlling.runs()
    assert Policy(policy=READ_WRITE, version=0) == controlling.daemon.policy == controlling.policies.get("t")
    turn(controlling)
    assert [] == controlling.daemon.policies


def test_sandbox_is_bound_with_the_policy(controlling):
    """And its turns tell it nothing again."""
    kept = controlling.policies.put("t", NONE)
    controlling.runs()
    turn(controlling)
    assert (kept, []) == (controlling.daemon.policy, controlling.daemon.policies)


def test_next_turn_comes_under_a_policy_chosen_meanwhile(controlling):
    """The sandbox is told before the turn gets access to it, once."""
    controlling.runs()
    controlling.policies.put("t", READ_ONLY)
    assert isinstance(turn(controlling), Access)
    assert isinstance(turn(controlling), Access)
    assert [READ_ONLY] == controlling.daemon.policies


def test_sign_in_needs_no_policy(controlling):
    """Telling it to the sandbox would call the sign-in off."""
    controlling.runs()
    controlling.policies.put("t", READ_ONLY)
    controlling.service.ensure("t", scope="signin")
    assert [] == controlling.daemon.policies


def test_sandbox_that_does_not_take_it_gets_no_turn(controlling):
    """While it runs; one that has ended is followed by one that is bound with it."""
    controlling.runs()
    controlling.policies.put("t", NONE)
    controlling.daemon.silent = True
    with pytest.raises(OpenCodeError):
        turn(controlling)

    controlling.daemon.silent = False
    controlling.launcher.ends(controlling.service.get("t").task_arn)
    controlling.daemon.silent = True
    turn(controlling)
    assert State.STARTING == controlling.service.get("t").state


def test_each_change_has_a_version_of_its_own(controlling):
    """By which a sandbox knows the newest; the same choice again is no change."""
    versions = [controlling.policies.put("t", policy).version for policy in (NONE, NONE, READ_WRITE, NONE)]
    assert [1, 1, 2, 3] == versions


def test_late_note_of_an_older_policy_changes_nothing(controlling):
    """Two turns may tell two policies at the same time."""
    controlling.runs()
    sandbox = controlling.service.get("t")
    assert controlling.store.told(sandbox, version=2) is not None
    assert controlling.store.told(sandbox, version=1) is None
    assert 2 == controlling.service.get("t").policy_version


def test_configure_tells_a_running_sandbox_at_once(controlling):
    """Of one that does not run it asks nothing."""
    assert controlling.perform("configure", thread_id="t").configured
    controlling.runs()
    controlling.policies.put("t", NONE)
    assert controlling.perform("configure", thread_id="t").configured
    assert [NONE] == controlling.daemon.policies


def test_deleted_thread_gets_no_policy(controlling, table):
    """Nothing of it comes back."""
    table.delete_item(Key={"thread_id": "t", "sk": "META"})
    with pytest.raises(NotFoundError):
        controlling.policies.put("t", NONE)
    assert "Item" not in table.get_item(Key={"thread_id": "t", "sk": "META"})


class Sessions:
    """Lets everybody in as whoever the token names."""

    def verify(self, token, *, thread_id):
        return Session(thread_id=thread_id, user_id=token, iat=0, exp=900)


class Control:
    """sandbox_ctl, which is asked to tell the policy, and may be out of reach."""

    def __init__(self):
        self.configured = []
        self.down = False

    def configure(self, thread_id):
        if self.down:
            raise SandboxUnavailableError("not now")
        self.configured.append(thread_id)


@pytest.fixture
def control():
    return Control()


@pytest.fixture
def call(controlling, control, audit):
    """Calls the route as a user: ``call("POST", {"policy": "none"})``."""
    service = ToolPolicyService(
        sessions=Sessions(), threads=controlling.threads, policies=controlling.policies, control=control, audit=audit
    )
    http = AsgiClient(create_app(None, None, service))

    def call(method, body=None, user=OWNER):
        headers = {"Authorization": f"Bearer {user}"}
        return http.request(method, "/agents/chat/t/tool-policy", json=body, headers=headers)

    return call


@pytest.mark.parametrize("policy", list(ToolPolicy))
def test_route_keeps_what_was_chosen(call, control, policy):
    """And has the sandbox hear of it."""
    before = call("GET").json()
    answer = call("POST", {"policy": policy.value})
    assert ({"policy": "read-write"}, 200) == (before, answer.status_code)
    assert {"policy": policy.value} == answer.json() == call("GET").json()
    assert ["t"] == control.configured


def test_choice_is_kept_while_sandbox_ctl_is_out_of_reach(call, control):
    """The next turn tells the sandbox."""
    control.down = True
    assert 200 == call("POST", {"policy": "none"}).status_code
    assert {"policy": "none"} == call("GET").json()


@pytest.mark.parametrize("body", [{}, {"policy": "all"}, {"policy": None}, {"policy": ["none"]}, [], None])
def test_what_is_no_policy_is_refused(call, body):
    """It changes nothing."""
    answer = call("POST", body)
    assert (422, "invalid_request") == (answer.status_code, answer.json()["code"])
    assert {"policy": "read-write"} == call("GET").json()


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", {"policy": "none"})])
def test_only_the_owner_may(call, control, method, body):
    """Look or change."""
    answer = call(method, body, user="bob")
    assert (403, "forbidden", []) == (answer.status_code, answer.json()["code"], control.configured)


def test_who_changed_the_policy_is_recorded(call, audit):
    """To which; who was refused, or only looked, is not there."""
    call("POST", {"policy": "none"})
    call("GET")
    call("POST", {"policy": "read-only"}, user="bob")

    assert [("tool_policy_changed", "t", OWNER, {"policy": "none"})] == audit.lines
