"""Who may have a sandbox: the real store of flags on scripted AppConfig, sandboxes on the real table."""

import json

import pytest

from operate.flags import switched, told
from sandbox_ctl.app import create_app
from sandbox_ctl.offers import OfferService
from sandbox_ctl.rollout import FLAGS_SECONDS, SANDBOXES, Rollout
from sandbox_ctl.rollout import STOPPED as KILLED
from tests.asgi import AsgiClient
from tests.controlling import OWNER, Controlling
from tests.fakes import FakeAppConfig, FakeAudit
from threadbox.control import Access, Starting
from threadbox.errors import RolloutUnreadableError, SandboxNotEnabledError
from threadbox.sessions import Session

EVERYBODY = FakeAppConfig().flags
NOBODY = switched(EVERYBODY, "off")
STOPPED = switched(EVERYBODY, "stop")


@pytest.fixture
def controlling(table, clock):
    controlling = Controlling(table, clock)
    controlling.threads.claim("t", user_id=OWNER)
    return controlling


@pytest.fixture
def switch(controlling):
    """Switches the flags."""

    def switch(flags):
        controlling.appconfig.flags = flags

    return switch


def starts(controlling, thread="t"):
    return isinstance(controlling.service.ensure(thread, scope="turn"), Starting)


def test_new_stack_lets_everybody_in(template, controlling):
    """By the flags that the template begins with, and without which AppConfig takes none."""
    at_first = template["Resources"]["FlagsAtFirst"]["Properties"]["Content"]
    controlling.appconfig.flags = at_first
    assert starts(controlling)
    (validator,) = template["Resources"]["FlagsProfile"]["Properties"]["Validators"]
    assert set(json.loads(at_first)) == set(json.loads(validator["Content"])["required"]) == {SANDBOXES, KILLED}


@pytest.mark.parametrize("flags", [NOBODY, STOPPED, switched(EVERYBODY, "list", ["bob"])])
def test_who_is_not_let_in_gets_no_sandbox(controlling, switch, flags):
    """Nothing is started, and nothing is said to be starting; let in again, it starts."""
    switch(flags)
    with pytest.raises(SandboxNotEnabledError):
        controlling.service.ensure("t", scope="turn")
    assert ({}, None) == (controlling.launcher.tasks, controlling.store.find("t"))

    switch(EVERYBODY)
    assert starts(controlling)


def test_listed_users_are_let_in(controlling, switch):
    """By their threads' owner, whoever asks."""
    controlling.threads.claim("of-bob", user_id="bob")
    switch(switched(EVERYBODY, "list", ["cid", OWNER]))
    assert starts(controlling)
    with pytest.raises(SandboxNotEnabledError):
        controlling.service.ensure("of-bob", scope="signin")


def test_kill_switch_comes_before_the_list(controlling, switch):
    """And leaves it as it was."""
    listed = switched(EVERYBODY, "list", [OWNER])
    switch(switched(listed, "stop"))
    with pytest.raises(SandboxNotEnabledError):
        controlling.service.ensure("t", scope="turn")
    switch(switched(switched(listed, "stop"), "resume"))
    assert starts(controlling)


@pytest.mark.parametrize("flags", [NOBODY, STOPPED])
def test_sandbox_that_runs_or_starts_goes_on(controlling, switch, flags):
    """Whoever was let in before; AppConfig is not even asked. Once it has ended, there is no other."""
    controlling.service.ensure("t", scope="turn")
    switch(flags)
    reads = controlling.appconfig.reads
    controlling.runs()
    assert isinstance(controlling.service.ensure("t", scope="turn"), Access)
    assert reads == controlling.appconfig.reads

    controlling.ends()
    with pytest.raises(SandboxNotEnabledError):
        controlling.service.ensure("t", scope="turn")


@pytest.mark.parametrize("content", ["", "{", '{"sandboxes": {"default": true}}', '{"sandboxes": {"default": "on"}}'])
def test_unreadable_flags_start_nothing(controlling, content):
    """Neither do those that do not say everything."""
    controlling.appconfig.flags = content
    with pytest.raises(RolloutUnreadableError):
        controlling.service.ensure("t", scope="turn")
    assert {} == controlling.launcher.tasks


def test_appconfig_that_does_not_answer_starts_nothing_and_stops_nothing(controlling):
    """A sandbox that runs is not affected, and once there are answers again, nothing else has to happen."""
    controlling.runs()
    controlling.threads.claim("other", user_id=OWNER)
    controlling.appconfig.down = True
    assert isinstance(controlling.service.ensure("t", scope="turn"), Access)
    with pytest.raises(RolloutUnreadableError):
        controlling.service.ensure("other", scope="turn")

    controlling.appconfig.down = False
    assert starts(controlling, "other")


@pytest.mark.parametrize("left", [1, 2])
def test_flags_that_become_unreadable_midway_start_nothing(controlling, left):
    """Between the reading of one flag and the next, their time may be over."""
    controlling.appconfig.denied_after = left
    with pytest.raises(RolloutUnreadableError):
        controlling.service.ensure("t", scope="turn")
    assert {} == controlling.launcher.tasks


def test_session_that_ended_is_followed_by_another(controlling):
    """In the same call: a function that was asleep for a day does not refuse its first user."""
    controlling.service.rollout.admit("t")
    controlling.appconfig.sessions.clear()
    controlling.service.rollout.admit("t")


def test_flags_count_for_seconds(controlling):
    """So much later a switch is in force, at most; within them, nothing is read again."""
    rollout = Rollout(threads=controlling.threads, stores=lambda: controlling.appconfig.store(max_age=FLAGS_SECONDS))
    rollout.admit("t")
    rollout.admit("t")
    assert (1, True) == (controlling.appconfig.reads, FLAGS_SECONDS <= 5)


class Sessions:
    """Lets everybody in as the owner."""

    def verify(self, token, *, thread_id):
        return Session(thread_id=thread_id, user_id=OWNER, iat=0, exp=900)


@pytest.mark.parametrize(
    ("flags", "status", "code"),
    [(NOBODY, 403, "sandbox_not_enabled"), (STOPPED, 403, "sandbox_not_enabled"), ("", 503, "rollout_unreadable")],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/sandbox/t"), ("GET", "/api/sandbox/t/models")])
def test_routes_that_would_start_one_say_why_not(controlling, flags, status, code, method, path):
    """With a code of its own; the sandbox's status can be read as ever."""
    controlling.appconfig.flags = flags
    offers = OfferService(sandboxes=controlling.service, daemon=controlling.daemon)
    app = create_app(
        controlling.service, offers, None, sessions=Sessions(), threads=controlling.threads, audit=FakeAudit()
    )
    client = AsgiClient(app)

    answer = client.request(method, path)

    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert "stopped" == client.request("GET", "/api/sandbox/t").json()["state"]


def test_other_functions_are_told_by_the_same_code(controlling, switch):
    """What crosses between two functions is the error of the tree."""
    switch(NOBODY)
    reply = controlling.perform("ensure", thread_id="t", scope="turn")
    with pytest.raises(SandboxNotEnabledError):
        reply.raised()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (EVERYBODY, "sandboxes: for everybody"),
        (NOBODY, "sandboxes: for nobody"),
        (switched(EVERYBODY, "list", ["ann", "bob"]), "sandboxes: for the listed\n  ann\n  bob"),
        (switched(NOBODY, "stop"), "sandboxes: for nobody\nno new ones are started"),
        (
            {**EVERYBODY, "sandboxes": {"default": False, "rules": {"x": {}}}},
            'sandboxes: {"default": false, "rules": {"x": {}}}',
        ),
        ({}, "sandboxes: null\nstopped: null"),
    ],
)
def test_flags_are_told_in_words(flags, words):
    """Those that somebody wrote by hand, as they are."""
    assert words == told(flags)
