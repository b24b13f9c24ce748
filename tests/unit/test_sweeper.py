"""The sweeper: what ECS runs is what the table says, sooner or later."""

import pytest

from sandbox_ctl.lifecycle import State
from sandbox_ctl.sweeper import OVERDUE_SECONDS, SWEEP_SECONDS, Sweeper
from tests.controlling import Controlling
from tests.operators import emitted, logged
from tests.unit.memory_table import MemoryTable
from tests.unit.scripted_ecs import ScriptedDaemon, ScriptedEcs
from threadbox.control import Access
from threadbox.errors import OpenCodeError


class World:
    """Sandboxes of some users, and the sweeper."""

    def __init__(self, clock):
        self.clock = clock
        self.ecs = ScriptedEcs(now=clock)
        self.daemon = ScriptedDaemon(ecs=self.ecs)
        self.controlling = Controlling(MemoryTable(), clock, launcher=self.ecs, daemon=self.daemon, per_user=100)
        self.service, self.store = self.controlling.service, self.controlling.store
        self.visited = []

    def starts(self, thread_id="t", user_id="ann"):
        """Begin a start, and return the ARN of its task."""
        self.controlling.threads.claim(thread_id, user_id=user_id)
        self.service.ensure(thread_id, scope="turn")
        return self.store.find(thread_id).task_arn

    def runs(self, thread_id="t"):
        """Have a sandbox run, and return the ARN of its task."""
        arn = self.starts(thread_id)
        self.ecs.move(arn)
        assert isinstance(self.service.ensure(thread_id, scope="turn"), Access)
        return arn

    def sweep(self, **parts):
        """Sweep once, some time later."""
        self.clock.time += 300
        sweeper = Sweeper(
            service=self.service,
            launcher=self.ecs,
            threads=self.controlling.threads,
            now=self.clock,
            **{"visits": [self.visited.append], "order": sorted, **parts},
        )
        return {name: count for name, count in sweeper.sweep().items() if count}


@pytest.fixture
def world(clock):
    return World(clock)


def test_what_runs_is_visited_and_left_alone(world):
    """There is nothing to do, however often it comes."""
    world.runs()
    for _ in range(2):
        assert {"tasks": 1, "sandboxes": 1, "seen": 1, "visited": 1} == world.sweep()
    assert ["t", "t"] == [sandbox.thread_id for sandbox in world.visited]
    assert world.store.find("t").state == State.RUNNING


def test_what_is_gone_is_marked(world):
    """A task whose end nobody told of."""
    world.ecs.end(world.runs())
    assert {"sandboxes": 1, "seen": 1, "gone": 1} == world.sweep()
    assert world.store.find("t").state == State.STOPPED
    assert {} == world.sweep()


def test_sweep_and_starts_leave_lines_and_metrics(world, output):
    """How many there are, also when there are none; of a start each phase, and the whole."""
    world.sweep()
    assert [("Sandboxes", {}, 0.0), ("Orphans", {}, 0.0), ("SweepErrors", {}, 0.0)] == emitted(output())
    world.runs()
    out = output()
    (line,) = logged(out, "sandbox ready")
    whole = sum(line["phases"].values())
    assert ("t", whole) == (line["thread_id"], line["start_ms"])
    phases = [("StartTime", {"phase": phase}, float(took)) for phase, took in line["phases"].items()]
    assert [("StartFailures", {}, 0.0), ("WholeStartTime", {}, float(whole)), *phases] == emitted(out)


def test_start_that_fails_is_counted_once(world, output):
    """However many tasks were tried."""
    world.starts()
    for _ in range(6):
        world.sweep()
        for arn in world.ecs.asked_to_stop:
            world.ecs.end(arn)
    out = output()
    assert [("StartFailures", {}, 1.0)] == [found for found in emitted(out) if found[0] == "StartFailures"]
    assert 1 == len(logged(out, "sandbox failed"))


def test_start_that_nobody_asks_for_goes_on(world):
    """It becomes ready, or comes to its end, without anybody waiting for it."""
    arn = world.starts()
    world.ecs.move(arn)
    assert 1 == world.sweep()["moved_on"]
    assert world.store.find("t").state == State.RUNNING


def test_start_that_hangs_is_given_up(world):
    """A task that never runs is ended, once more with the next one, and then it has failed."""
    world.starts()
    for _ in range(6):
        world.sweep()
        for arn in world.ecs.asked_to_stop:
            world.ecs.end(arn)
    assert (State.FAILED, 2) == (world.store.find("t").state, world.store.find("t").generation)
    assert [] == world.ecs.living() == world.store.listed()


def test_task_that_nobody_has_is_ended(world):
    """Its thread was deleted, or has another one; one that is young, or none of ours, is left alone."""
    arn = world.runs()
    world.store.table.delete_item(Key={"thread_id": "t", "sk": "SANDBOX"})
    foreign = world.ecs.tasks[arn].model_copy(update={"arn": "arn:task/foreign", "started_by": "ecs-svc/1"})
    young = world.ecs.tasks[arn].model_copy(update={"arn": "arn:task/young", "created_at": world.clock() + 290})
    world.ecs.tasks |= {task.arn: task for task in (foreign, young)}

    assert {"tasks": 3, "sandboxes": 1, "seen": 1, "forgotten": 1, "orphans": 1} == world.sweep()

    assert {arn} == world.ecs.asked_to_stop
    assert [] == world.store.listed()


def test_task_that_may_be_the_starts_own_is_left_alone(world):
    """Whoever called RunTask died before the ARN was written: the start goes on with that task."""
    world.ecs.trouble = ["lost"]
    world.starts()
    assert world.store.find("t").task_arn is None
    world.sweep()
    assert set() == world.ecs.asked_to_stop
    assert world.store.find("t").task_arn in world.ecs.tasks


def test_end_that_ecs_did_not_hear_of_is_asked_for_again(world):
    """Whoever stopped the sandbox died before StopTask."""
    arn = world.runs()
    world.store.stopping(world.store.find("t"))
    world.sweep()
    assert {arn} == world.ecs.asked_to_stop
    world.ecs.end(arn)
    assert 1 == world.sweep()["gone"]


def test_what_should_have_ended_long_ago_is_ended(world):
    """A sandboxd that hangs does not find out that it is old."""
    arn = world.runs()
    world.clock.time += 43_200 + OVERDUE_SECONDS - 200
    assert 1 == world.sweep()["overdue"]
    assert {arn} == world.ecs.asked_to_stop


def test_run_is_bounded_and_one_failure_is_one_failure(world):
    """What there is no time for waits for the next run, and what fails keeps nothing else from being done."""
    for number in range(4):
        world.runs(f"t{number}")
    world.store.table.items["t3", "SANDBOX"]["launch"] = "{}"

    def visit(sandbox):
        world.visited.append(sandbox.thread_id)
        world.clock.time += SWEEP_SECONDS / 2
        if sandbox.thread_id == "t0":
            raise OpenCodeError("no")

    counts = world.sweep(visits=[visit], order=lambda threads: sorted(threads, reverse=True))
    assert ["t2", "t1", "t0"] == world.visited
    assert (4, 4, 2, 2) == (counts["sandboxes"], counts["seen"], counts["visited"], counts["errors"])


def test_holder_whose_lease_ran_out_starts_nothing(world):
    """Between its claim and RunTask it took so long that others had their try, and another generation runs."""
    world.controlling.threads.claim("t", user_id="ann")
    slow = world.store.claim("t", launch=world.service._launch(None), owner="slow", user_id="ann")
    for _ in range(3):
        world.clock.time += 25
        world.ecs.trouble = ["refused"]
        world.service.task_changed("t", "any")
    assert world.store.find("t").state == State.FAILED
    arn = world.starts()

    world.service.starter.run(slow, owner="slow", launch=world.service._launch)

    assert [arn] == [task.arn for task in world.ecs.living()]
