"""The table "a start, phase by phase" of docs/architecture.md, each row: what goes wrong, how it ends, who retries."""

import pytest
from botocore.exceptions import ClientError

from sandbox_ctl.lifecycle import Detail, State
from sandbox_ctl.starts import BOOT_LIMIT, CLAIM_LIMIT, PENDING_LIMIT, RESTORE_LIMIT
from tests.controlling import Controlling
from tests.unit.memory_table import MemoryTable
from tests.unit.scripted_ecs import ScriptedDaemon, ScriptedEcs
from threadbox.control import Access, Starting
from threadbox.errors import SandboxUnavailableError, VaultUnreadableError


class Start:
    """A start that somebody waits for."""

    def __init__(self, clock, table, **parts):
        self.clock = clock
        self.ecs = ScriptedEcs(now=clock)
        self.daemon = ScriptedDaemon(ecs=self.ecs)
        self.controlling = Controlling(table, clock, launcher=self.ecs, daemon=self.daemon, **parts)
        self.waiting_for = None

    @property
    def row(self):
        return self.controlling.store.find("t")

    def ask(self, after=1):
        """Ask, as whoever waits does, some seconds later."""
        self.clock.time += after
        answer = self.controlling.service.ensure("t", scope="turn", waiting_for=self.waiting_for)
        self.waiting_for = answer.generation
        return answer

    def until(self, detail):
        """Go on until it is that far."""
        self.ask()
        if detail != Detail.PULLING:
            self.daemon.silent = detail == Detail.CLAIMING
            self.daemon.ready = False
            self.ecs.move(self.row.task_arn)
            self.ask()
        assert detail == self.row.detail

    def fails_twice(self, *, let_it):
        """Have this generation fail by *let_it*, and the next one; return the reason."""
        for generation in (1, 2):
            assert generation == self.row.generation
            let_it(self)
            if generation == 1:
                assert Starting(state="starting", detail="pulling", generation=2) == self.ask().model_copy(
                    update={"phases": {}}
                )
                if self.moved:
                    self.ecs.move(self.row.task_arn)
                    self.ask()
        with pytest.raises(SandboxUnavailableError) as failed:
            self.ask()
        assert State.FAILED == self.row.state
        assert [] == self.ecs.living()
        return str(failed.value)

    moved = False


@pytest.fixture
def start(clock):
    return Start(clock, MemoryTable())


def overstays(limit):
    """Let a phase take longer than it may: the task is ended before another one is started."""

    def let_it(start):
        arn = start.row.task_arn
        assert start.row.state == State.STARTING
        start.ask(after=limit + 1)
        assert {arn} <= start.ecs.asked_to_stop
        assert [arn] == [task.arn for task in start.ecs.living()], "nothing beside it while it lives"
        start.ecs.end(arn)

    return let_it


def ends(start):
    """Let the task end."""
    start.ecs.end(start.row.task_arn)


def test_requested_with_a_grant_that_cannot_be_opened(table, clock, kms, key_id):
    """503 `vault_unreadable`, no RunTask, and nobody tries again but its user."""
    start = Start(clock, table, kms=kms, key_id=key_id)
    start.controlling.connects()
    kms.failure = ClientError({"Error": {"Code": "AccessDeniedException"}}, "Decrypt")
    for _ in range(2):
        with pytest.raises(VaultUnreadableError):
            start.ask()
    assert {} == start.ecs.tasks
    assert start.row is None


def test_requested_and_throttled(start):
    """`starting`, twice more with backoff, then 503."""
    start.ecs.trouble = ["refused", "refused", "refused"]
    assert "requested" == start.ask().detail
    assert 2 == len(start.ecs.trouble)
    start.ask(after=0)
    assert 2 == len(start.ecs.trouble), "not before its time"
    start.ask(after=1)
    with pytest.raises(SandboxUnavailableError):
        start.ask(after=3)
    assert {} == start.ecs.tasks


def test_requested_and_every_answer_of_ecs_is_lost(start):
    """The task that one of the calls started is found, and gone on with."""
    start.ecs.trouble = ["lost", "lost", "lost"]
    for _ in range(3):
        start.ask(after=3)
    assert ("pulling", 1) == (start.row.detail, len(start.ecs.living()))
    start.ecs.move(start.row.task_arn)
    assert isinstance(start.ask(), Access)


def test_requested_and_ecs_cannot_even_be_asked(start):
    """It stays a start: whether there is a task is not known, and a second one would be one too many."""
    start.ecs.trouble = ["lost", "down", "down", "down"]
    for _ in range(3):
        assert "requested" == start.ask(after=3).detail
    start.ask(after=3)
    assert 1 == len(start.ecs.living())


def test_pulling_for_too_long(start):
    """PENDING over 180 s: once more with the next generation, then 503."""
    start.until(Detail.PULLING)
    start.fails_twice(let_it=overstays(PENDING_LIMIT))


def test_pulling_and_stopped(start):
    """STOPPED before RUNNING: once more, then 503 with the reason."""
    start.until(Detail.PULLING)
    assert "it ended" in start.fails_twice(let_it=ends)


def test_pulling_a_task_that_ecs_does_not_know_yet(start):
    """What RunTask has just told of is no task that is gone."""
    start.until(Detail.PULLING)
    start.ecs.unseen.add(start.row.task_arn)
    assert ("pulling", 1) == (start.ask().detail, start.row.generation)


@pytest.mark.parametrize("what", ["silent", "stranger"])
def test_claiming_without_an_answer(start, what):
    """Nobody answers in 60 s, or another task does: ours is stopped, then the next generation."""
    start.until(Detail.CLAIMING)
    start.daemon.silent, start.moved = False, True
    setattr(start.daemon, what, True)
    start.fails_twice(let_it=overstays(CLAIM_LIMIT))
    assert [] == start.daemon.bound


def test_restoring_is_told_and_has_its_own_time(start):
    """What was kept of the thread comes back first; which of it is broken is sandboxd's to find out."""
    start.daemon.restoring = True
    start.until(Detail.RESTORING)
    start.ask(after=BOOT_LIMIT + 1)
    assert set() == start.ecs.asked_to_stop
    start.daemon.restoring = False
    start.ask()
    assert Detail.BOOTING == start.row.detail
    start.daemon.ready = True
    access = start.ask()
    assert {"requested", "pulling", "claiming", "restoring", "booting"} == access.phases.keys()
    assert (BOOT_LIMIT + 2) * 1000 == access.phases["restoring"]


def test_restoring_for_ever(start):
    """As pulling."""
    start.daemon.restoring, start.moved = True, True
    start.until(Detail.RESTORING)
    start.fails_twice(let_it=overstays(RESTORE_LIMIT))


def test_booting_and_not_healthy(start):
    """Sandboxd ends with a code of its own: as pulling."""
    start.until(Detail.BOOTING)
    start.moved = True
    start.fails_twice(let_it=ends)


def test_booting_for_ever(start):
    """Sandboxd hangs, too: as pulling."""
    start.until(Detail.BOOTING)
    start.moved = True
    start.fails_twice(let_it=overstays(BOOT_LIMIT))


def test_ready_and_opencode_dies(start):
    """The next message starts another one."""
    start.ask()
    start.ecs.move(start.row.task_arn)
    assert isinstance(start.ask(), Access)
    start.ecs.end(start.row.task_arn)
    answer = start.controlling.service.ensure("t", scope="turn", suspect=1)
    assert ("pulling", 2) == (answer.detail, answer.generation)


def test_ready_and_about_to_end(start):
    """A sandbox that says so is waited out, however long ECS takes to say that it is over; then another one starts."""
    start.ask()
    start.ecs.move(start.row.task_arn)
    assert start.ask().ends_at is None
    start.daemon.ending = True
    for _ in range(2):
        answer = start.controlling.service.ensure("t", scope="turn", suspect=1)
        assert ("stopping", 1) == (answer.state, answer.generation)
    start.ecs.end(start.row.task_arn)
    assert 2 == start.ask().generation


def test_ready_and_old(start):
    """Whoever asks within the last quarter of an hour is told when it will end."""
    start.ask()
    start.ecs.move(start.row.task_arn)
    start.ask()
    start.controlling.table.put_item(Item={"thread_id": "t", "sk": "TURN", "begun_ms": 1_800_000_001_999})
    status = start.controlling.service.status("t")
    assert 1_800_000_001 == status.last_active_at
    assert status.started_at + 43_200 == status.ends_at
    assert status.ends_at == start.ask(after=43_200 - 900).ends_at
