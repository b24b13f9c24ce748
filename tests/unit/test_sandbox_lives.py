"""
A sandbox's whole life, in orders nobody would think of.

Whatever is asked, told, delayed, repeated or lost, and wherever whoever is at work dies, a thread has one task or none;
and as soon as somebody asks, or the sweeper comes, it gets on.
"""

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sandbox_ctl.lifecycle import ENDED, State
from sandbox_ctl.sweeper import Sweeper
from tests.conftest import Clock
from tests.controlling import Controlling
from tests.unit.interleaving import Interruptible
from tests.unit.memory_table import MemoryTable
from tests.unit.scripted_ecs import Hooked, ScriptedDaemon, ScriptedEcs
from threadbox.control import Access
from threadbox.errors import AppError

THREAD, OWNER = "t", "ann"
DELAYS = (1, 5, 21, 46, 61, 181)
# What may happen before a call: the caller dies, or time passes, or others do what they do.
CRASH, NOTHING = "crash", "nothing"
MEANWHILE = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from((CRASH, "ask", "stop", "event", "sweep", "move", "end", *DELAYS))),
    max_size=3,
)


class CrashError(BaseException):
    """Whoever was at work is no more."""


class Lives(RuleBasedStateMachine):
    """One thread, and all who have to do with its sandbox."""

    table = None

    def __init__(self):
        super().__init__()
        for item in self.table.scan()["Items"]:
            self.table.delete_item(Key={"thread_id": item["thread_id"], "sk": item["sk"]})
        self.clock = Clock(1_800_000_000.0)
        self.ecs = ScriptedEcs(now=self.clock)
        self.daemon = ScriptedDaemon(ecs=self.ecs)
        self.calls, self.plan, self.depth = 0, {}, 0
        self.controlling = Controlling(
            Interruptible(self.table, lambda: self._before("table")),
            self.clock,
            launcher=Hooked(self.ecs, self._before),
            daemon=Hooked(self.daemon, self._before),
        )
        self.service = self.controlling.service
        self.sweeper = Sweeper(
            service=self.service,
            launcher=self.controlling.launcher,
            threads=self.controlling.threads,
            order=sorted,
            now=self.clock,
        )
        self.controlling.threads.claim(THREAD, user_id=OWNER)

    def teardown(self):
        """Let ECS get over what it had, and everybody ask: then all is well."""
        self.plan, self.daemon.silent, self.daemon.ready = {}, False, True
        self.ecs.trouble.clear()
        self.ecs.unseen.clear()
        if self.calls % 2:
            self._sweepings()
        self._askings()

    def _sweepings(self):
        for _ in range(6):
            self.clock.time += 300
            self._move_all()
            self.sweeper.sweep()
            self._move_all()
        row = self.controlling.store.find(THREAD)
        assert row is None or row.state not in {State.STARTING, State.STOPPING}, "the sweeper left it stuck"
        owned = {row.task_arn} if row is not None and row.state not in ENDED else set()
        assert {task.arn for task in self.ecs.living()} == owned, "the sweeper left an orphan, or killed one"
        assert bool(self.controlling.store.listed()) == bool(owned)

    def _askings(self):
        for _ in range(60):
            self._move_all()
            row = self.controlling.store.find(THREAD)
            try:
                if isinstance(self.service.ensure(THREAD, scope="turn", suspect=row and row.generation), Access):
                    break
            except AppError as error:
                note(repr(error))
            self.clock.time += 10
        else:
            pytest.fail("the thread is stuck")
        (alive,) = self.ecs.living()
        row = self.controlling.store.find(THREAD)
        assert (State.RUNNING, alive.arn) == (row.state, row.task_arn)
        assert [(THREAD, OWNER)] == self.controlling.store.listed()

    def _move_all(self):
        for task in self.ecs.living():
            self.ecs.move(task.arn)

    def _before(self, call):
        """Stand between any two calls that somebody makes."""
        self._one_task_or_none()
        if self.depth != 1:
            return
        self.calls += 1
        done = self.plan.pop(self.calls, NOTHING)
        if isinstance(done, int):
            # A call to ECS is made within the lease, or not at all: its client sees to that.
            self.clock.time += min(done, 4) if call == "launch" else done
        elif done == CRASH:
            raise CrashError
        elif done != NOTHING:
            self.depth += 1
            try:
                self._do(done)
            finally:
                self.depth -= 1

    def _do(self, what, **arguments):
        arns = sorted(self.ecs.tasks)
        try:
            match what:
                case "ask":
                    self.service.ensure(THREAD, scope="turn", **arguments)
                case "stop":
                    self.service.stop(THREAD)
                case "event" if arns:
                    self.service.task_changed(THREAD, arguments.get("arn", arns[-1]))
                case "sweep":
                    self.sweeper.sweep()
                case "move" if arns:
                    self.ecs.move(arns[-1])
                case "end" if arns:
                    self.ecs.end(arns[-1])
        except AppError as error:
            note(f"{what}: {error!r}")

    def _work(self, what, plan, **arguments):
        """Have somebody do something, with what happens before which of the calls that it takes."""
        self.calls, self.plan, self.depth = 0, dict(plan), 1
        try:
            self._do(what, **arguments)
        except CrashError:
            note(f"{what}: died before call {self.calls}")
        finally:
            self.plan, self.depth = {}, 0

    @rule(plan=MEANWHILE, waits=st.booleans(), doubts=st.booleans())
    def ask(self, plan, waits, doubts):
        """Ask for the sandbox, at first or again, and perhaps because it did not answer."""
        row = self.controlling.store.find(THREAD)
        generation = row.generation if row else None
        self._work("ask", plan, waiting_for=generation if waits else None, suspect=generation if doubts else None)

    @rule(plan=MEANWHILE)
    def stop(self, plan):
        """Stop it."""
        self._work("stop", plan)

    @rule(plan=MEANWHILE)
    def sweep(self, plan):
        """The schedule."""
        self._work("sweep", plan)

    @precondition(lambda self: self.ecs.tasks)
    @rule(plan=MEANWHILE, data=st.data())
    def tell(self, plan, data):
        """An event of any task there ever was comes; the first time, or once more, or late."""
        self._work("event", plan, arn=data.draw(st.sampled_from(sorted(self.ecs.tasks))))

    @precondition(lambda self: self.ecs.living())
    @rule(end=st.booleans(), unseen=st.booleans())
    def move(self, end, unseen):
        """A task gets on, or ends; or is one that ECS does not show yet."""
        arn = self.ecs.living()[-1].arn
        if unseen:
            self.ecs.unseen.add(arn)
        elif end:
            self.ecs.end(arn)
        else:
            self.ecs.move(arn)

    @rule(seconds=st.sampled_from(DELAYS))
    def wait(self, seconds):
        """Time passes."""
        self.clock.time += seconds

    @rule(trouble=st.lists(st.sampled_from(("refused", "lost", "down")), min_size=1, max_size=3))
    def trouble(self, trouble):
        """ECS will not do what it is asked for, or not say so."""
        self.ecs.trouble = trouble

    @rule(silent=st.booleans(), ready=st.booleans())
    def daemon_changes(self, silent, ready):
        """Sandboxd answers or does not, OpenCode is ready or is not."""
        self.daemon.silent, self.daemon.ready = silent, ready

    @invariant()
    def _one_task_or_none(self):
        assert len(self.ecs.living()) <= 1, [task.arn for task in self.ecs.living()]


def play(table, *, examples, steps):
    """Play so many lives, always the same ones."""
    house = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(type("LivesOnTable", (Lives,), {"table": table}), settings=house)


def test_one_task_or_none_and_never_stuck():
    """Some thousand lives, on a table in memory."""
    play(MemoryTable(), examples=400, steps=30)


def test_one_task_or_none_on_moto(table):
    """A few of them on moto, which says whether the table in memory is one."""
    play(table, examples=5, steps=15)


@pytest.mark.long
def test_one_task_or_none_in_many_more_lives():
    """The same, with wide seeds."""
    play(MemoryTable(), examples=1500, steps=50)
