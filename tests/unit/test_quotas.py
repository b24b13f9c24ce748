"""What one user, and one thread, may have at once: counted in the write that it is about, each time once."""

import pytest

from chat.messages import MessageStore
from sandbox_ctl.census import quota_key
from sandbox_ctl.lifecycle import State
from tests.controlling import Controlling
from tests.unit.memory_table import MemoryTable
from tests.unit.scripted_ecs import ScriptedDaemon, ScriptedEcs
from threadbox.control import Access
from threadbox.errors import RateLimitedError
from threadbox.sockets import LONGEST, Socket, SocketStore

USER = "ann"


@pytest.fixture
def table():
    return MemoryTable()


@pytest.fixture
def controlling(table, clock):
    ecs = ScriptedEcs(now=clock)
    return Controlling(table, clock, launcher=ecs, daemon=ScriptedDaemon(ecs=ecs), per_user=3)


def starts(controlling, thread_id, user_id=USER):
    controlling.threads.claim(thread_id, user_id=user_id)
    return controlling.service.ensure(thread_id, scope="turn")


def stops(controlling, thread_id):
    """Have the thread's sandbox end, and its event come twice."""
    controlling.service.stop(thread_id)
    arn = controlling.store.find(thread_id).task_arn
    controlling.launcher.end(arn)
    for _ in range(2):
        controlling.service.task_changed(thread_id, arn)
    assert controlling.store.find(thread_id).state == State.STOPPED


def counted(table, user_id=USER):
    return table.items.get(tuple(quota_key(user_id).values()), {}).get("threads", set())


def test_fourth_sandbox_of_a_user_is_refused(controlling, table):
    """With the time after which to come again; other users, and what runs already, are not concerned."""
    for number in range(3):
        starts(controlling, f"t{number}")
    with pytest.raises(RateLimitedError) as refused:
        starts(controlling, "t3")
    assert (30, 3) == (refused.value.retry_after, refused.value.details["limit"])
    assert controlling.store.find("t3") is None
    starts(controlling, "of bob", "bob")
    starts(controlling, "t1")
    assert {"t0", "t1", "t2"} == counted(table)
    assert 4 == len(controlling.launcher.living())


def test_place_is_given_back_once_whatever_ends_it(controlling, table):
    """A stop, a failed start; told once or more often."""
    for number in range(3):
        starts(controlling, f"t{number}")
    stops(controlling, "t0")
    assert {"t1", "t2"} == counted(table)
    starts(controlling, "t3")
    with pytest.raises(RateLimitedError):
        starts(controlling, "t0")

    for _ in range(2):
        controlling.launcher.end(controlling.store.find("t1").task_arn)
        controlling.service.task_changed("t1", "any")
    assert State.FAILED == controlling.store.find("t1").state
    assert {"t2", "t3"} == counted(table)


def test_further_generation_keeps_its_place(controlling, table):
    """The one that follows a task which did not start, and the one that follows one that ended."""
    for number in range(3):
        starts(controlling, f"t{number}")
    controlling.launcher.end(controlling.store.find("t0").task_arn)
    assert 2 == starts(controlling, "t0").generation
    controlling.launcher.move(controlling.store.find("t0").task_arn)
    assert isinstance(starts(controlling, "t0"), Access)
    controlling.launcher.end(controlling.store.find("t0").task_arn)
    assert 3 == controlling.service.ensure("t0", scope="turn", suspect=2).generation
    assert {"t0", "t1", "t2"} == counted(table)


def test_place_of_a_deleted_thread_is_free(controlling, table):
    """Whoever is about to be refused has it looked after."""
    for number in range(3):
        starts(controlling, f"t{number}")
    table.delete_item(Key={"thread_id": "t0", "sk": "SANDBOX"})
    starts(controlling, "t3")
    assert {"t1", "t2", "t3"} == counted(table)


def test_place_of_one_that_ended_unnoticed_is_free(controlling, table):
    """No event told of it, and the sweeper has not come by: ECS is asked before anybody is refused for it."""
    for number in range(3):
        starts(controlling, f"t{number}")
    controlling.launcher.move(controlling.store.find("t0").task_arn)
    assert isinstance(starts(controlling, "t0"), Access)
    controlling.launcher.end(controlling.store.find("t0").task_arn)
    starts(controlling, "t3")
    assert {"t1", "t2", "t3"} == counted(table)
    assert State.STOPPED == controlling.store.find("t0").state


def test_messages_of_a_thread_are_bounded_in_each_minute(table, clock):
    """The thirty-first within a minute is refused until that has passed; another thread is not concerned."""
    messages = MessageStore(table=table, bodies=None, cuts=None, now=clock)
    clock.time += 0.7
    for number in range(30):
        assert 2 * number + 1 == messages.reserve_paced("t", per_minute=30)
        clock.time += 1
    with pytest.raises(RateLimitedError) as refused:
        messages.reserve_paced("t", per_minute=30)
    assert 30 == refused.value.retry_after
    assert 61 == messages.reserve("t"), "what is not asked is not counted"
    messages.reserve_paced("other", per_minute=30)
    clock.time += 30
    assert 63 == messages.reserve_paced("t", per_minute=30)


def test_sockets_of_a_thread_are_bounded(table, clock):
    """The eleventh is refused; one that closes makes room, and so does one whose time is over unheard."""
    sockets = SocketStore(table=table, per_thread=10, now=clock)

    def opens(name):
        sockets.create(Socket(thread_id="t", connection_id=name, user_id=USER))

    for number in range(10):
        opens(f"c{number}")
        clock.time += 1
    with pytest.raises(RateLimitedError):
        opens("c10")
    assert sockets.find("c10") is None

    for _ in range(2):
        sockets.delete("t", "c3")
    opens("c10")
    with pytest.raises(RateLimitedError):
        opens("c11")

    clock.time += LONGEST - 5
    opens("c11")
    kept = {socket.connection_id for socket in sockets.list("t")}
    assert {"c6", "c7", "c8", "c9", "c10", "c11"} == kept
    assert sockets.find("c0") is None
