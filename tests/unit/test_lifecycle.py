"""The transitions of a sandbox: what is written down as data is what the store does, and all it does."""

import inspect

import pytest

from sandbox_ctl.lifecycle import ENDED, TRANSITIONS, Detail, State
from sandbox_ctl.sandboxes import Launch, Sandbox, SandboxStore
from tests.unit.memory_table import MemoryTable

LAUNCH = Launch(task_definition="sandbox:1", environment={}, key_id="k")
# What the store offers besides transitions.
READS = {"find", "find_with_policy", "find_last_turn", "counted", "listed", "forget"}
CALLS = {
    "claim": lambda store, row: store.claim("t", launch=LAUNCH, owner="me", user_id="ann"),
    "take": lambda store, row: store.take(row, owner="me"),
    "progress": lambda store, row: store.progress(row, owner="me", lease=20, changes={"detail": Detail.PULLING}),
    "next_generation": lambda store, row: store.next_generation(row, owner="me", launch=LAUNCH),
    "ready": lambda store, row: store.ready(row, owner="me", session_id="s", opencode_version="1", policy_version=0),
    "fail": lambda store, row: store.fail(row, owner="me", reason="no"),
    "told": lambda store, row: store.told(row, version=7),
    "remembered": lambda store, row: store.remembered(row, at=5),
    "stopping": lambda store, row: store.stopping(row),
    "stopped": lambda store, row: store.stopped(row, reason="it ended"),
}


@pytest.fixture
def table():
    return MemoryTable()


@pytest.fixture
def store(table, clock):
    return SandboxStore(table=table, per_user=3, now=clock)


def put(table, clock, state, **changes):
    """Put a row of *state* there that fulfils whatever else a transition asks for; None: no row."""
    if state is None:
        return None
    row = {
        "thread_id": "t",
        "sk": "SANDBOX",
        "user_id": "ann",
        "state": state,
        "detail": Detail.PULLING,
        "generation": 4,
        "launch": LAUNCH.model_dump_json(),
        "retries": 0,
        "launch_tries": 0,
        "task_arn": "arn:task/4",
        "lease_owner": "me",
        "lease_until": int(clock()),
        "requested_at": int(clock()),
        "phase_at": int(clock()),
        **changes,
    }
    table.put_item(Item=row)
    return Sandbox.model_validate(row)


def test_every_method_is_a_transition_and_every_transition_a_method():
    """There is no other way to write the row."""
    methods = {name for name, _ in inspect.getmembers(SandboxStore, inspect.isfunction) if not name.startswith("_")}
    assert TRANSITIONS.keys() | READS == methods
    assert TRANSITIONS.keys() == CALLS.keys()


@pytest.mark.parametrize("name", TRANSITIONS)
@pytest.mark.parametrize("state", [None, *State])
def test_transition_is_made_from_its_sources_only(table, store, clock, name, state):
    """From any other state it changes nothing."""
    move = TRANSITIONS[name]
    row = put(table, clock, state)
    before = table.scan()["Items"]
    if state is None and not move.absent:
        row = put(MemoryTable(), clock, State.STARTING)

    after = CALLS[name](store, row)

    if state in move.sources or (state is None and move.absent):
        assert move.target == after.state == store.find("t").state
        assert bool(store.listed()) == (name == "claim")
    else:
        assert after is None
        assert before == table.scan()["Items"]


@pytest.mark.parametrize("name", sorted(TRANSITIONS.keys() - {"claim"}))
def test_transition_of_another_generation_is_refused(table, store, clock, name):
    """Whoever read the row before the generation rose writes nothing any more."""
    for state in TRANSITIONS[name].sources:
        put(table, clock, state)
        assert CALLS[name](store, put(MemoryTable(), clock, state, generation=3)) is None
        assert store.find("t").state == state


@pytest.mark.parametrize("name", ["progress", "next_generation", "ready", "fail"])
def test_start_is_moved_on_by_its_holder_only(table, store, clock, name):
    """Whoever lost the lease writes nothing any more."""
    row = put(table, clock, State.STARTING, lease_owner="somebody else")
    assert CALLS[name](store, row) is None


def test_generation_rises_only_where_the_task_is_over():
    """Those two, one of which follows an end, and the other the end of the task before."""
    assert ENDED == TRANSITIONS["claim"].sources
    assert {State.STARTING} == TRANSITIONS["next_generation"].sources


def test_milliseconds_of_each_phase_are_kept(table, store, clock):
    """What a start has spent in which phase is known while it goes on, and stays known; a second try adds to it."""
    row = store.claim("t", launch=LAUNCH, owner="me")
    clock.time += 0.25
    row = store.progress(row, owner="me", lease=20, changes={"detail": Detail.PULLING, "task_arn": "arn:task/1"})
    clock.time += 2
    row = store.next_generation(row, owner="me", launch=LAUNCH)
    clock.time += 0.5
    row = store.progress(row, owner="me", lease=20, changes={"detail": Detail.BOOTING})
    clock.time += 1
    row = store.ready(row, owner="me", session_id="s", opencode_version="1", policy_version=0)

    assert {"requested": 750, "pulling": 2000, "booting": 1000} == row.phases
