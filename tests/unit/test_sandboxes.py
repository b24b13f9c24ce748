"""A sandbox's life, with the real store on moto and scripted ECS and sandboxd."""

import pytest
from pydantic import SecretStr

from sandbox_ctl.models import Model, ModelAccess
from sandbox_ctl.sandboxes import Detail, State
from tests.controlling import Controlling
from threadbox.control import Access, Starting
from threadbox.errors import ConflictError, OpenCodeError, SandboxUnavailableError, StaleGenerationError

pytestmark = pytest.mark.moto

MODELS = ModelAccess(model=Model(base_url="http://127.0.0.1/v1", name="demo"), keys={"default": SecretStr("key")})


@pytest.fixture
def controlling(table, clock):
    return Controlling(table, clock, models=lambda: MODELS)


@pytest.fixture
def launcher(controlling):
    return controlling.launcher


@pytest.fixture
def daemon(controlling):
    return controlling.daemon


@pytest.fixture
def service(controlling):
    return controlling.service


@pytest.fixture
def running(service, launcher):
    service.ensure("t", scope="turn")
    launcher.runs("arn:task/1")
    assert isinstance(service.ensure("t", scope="turn"), Access)
    return service


def test_ensure_answers_starting_at_once_and_access_when_ready(service, launcher, daemon):
    """The first call starts the task and does not wait for it; a later one finds it ready."""
    first = service.ensure("t", scope="turn")
    again = service.ensure("t", scope="turn")
    launcher.runs("arn:task/1", "127.1.2.3")
    access = service.ensure("t", scope="turn")

    assert Starting(state="starting", detail="pulling", generation=1, phases={"requested": 0}) == first == again
    assert isinstance(access, Access)
    assert (access.url, access.generation, access.session_id) == ("http://127.1.2.3:4096", 1, "ses_1")
    assert daemon.bound == [("t", 1, MODELS)]


def test_crash_between_run_task_and_its_arn_starts_no_second_task(service, launcher, clock):
    """Whoever takes over the expired lease repeats the same generation, and gets the same task."""
    launcher.crash_after_launch = True
    with pytest.raises(KeyboardInterrupt):
        service.ensure("t", scope="turn")
    assert service.ensure("t", scope="turn").detail == "requested"

    clock.time += 21
    answer = service.ensure("t", scope="turn")

    assert (answer.detail, answer.generation) == ("pulling", 1)
    assert list(launcher.by_token) == [("t", 1)]


def test_lack_of_capacity_is_tried_again_with_backoff_and_then_fails(service, launcher, clock):
    """Three refusals in all end the start; the one who waited is told, the next one who asks starts anew."""
    launcher.refusals = 3
    service.ensure("t", scope="turn")
    assert launcher.refusals == 2
    service.ensure("t", scope="turn", waiting_for=1)
    assert launcher.refusals == 2, "the backoff holds"

    clock.time += 2
    service.ensure("t", scope="turn", waiting_for=1)
    clock.time += 4
    with pytest.raises(SandboxUnavailableError):
        service.ensure("t", scope="turn", waiting_for=1)

    assert service.get("t").state == State.FAILED
    assert service.ensure("t", scope="turn").generation == 2


def test_task_that_stops_while_starting_is_replaced_once(service, launcher):
    """A task that ends before it is ready is followed by the next generation, and that one by an error."""
    service.ensure("t", scope="turn")
    launcher.ends("arn:task/1", "CannotPullContainerError")
    assert service.ensure("t", scope="turn", waiting_for=1).generation == 2

    launcher.ends("arn:task/2", "CannotPullContainerError")
    with pytest.raises(SandboxUnavailableError, match="CannotPullContainerError"):
        service.ensure("t", scope="turn", waiting_for=2)


def test_sandbox_that_never_answers_is_stopped_before_the_next_generation(service, launcher, daemon, clock):
    """Another task may be there only when the old one is known to have stopped."""
    daemon.silent = True
    service.ensure("t", scope="turn")
    launcher.runs("arn:task/1")
    clock.time += 61
    service.ensure("t", scope="turn")
    assert service.get("t").detail == "claiming"
    clock.time += 61
    service.ensure("t", scope="turn")
    assert launcher.stopped == ["arn:task/1"]
    assert service.get("t").generation == 1

    launcher.ends("arn:task/1")

    assert service.ensure("t", scope="turn").generation == 2


def test_suspect_that_still_runs_is_kept(running, launcher):
    """A caller's doubt alone changes nothing: ECS is asked."""
    assert running.ensure("t", scope="turn", suspect=1).generation == 1
    assert len(launcher.by_token) == 1


def test_suspect_that_ended_is_followed_by_a_new_generation(running, launcher):
    """A sandbox that died unseen is replaced as soon as somebody misses it."""
    launcher.ends("arn:task/1")

    answer = running.ensure("t", scope="turn", suspect=1)

    assert Starting(state="starting", detail="pulling", generation=2, phases={"requested": 0}) == answer


def test_event_is_a_hint(running, launcher):
    """An event changes nothing until ECS confirms what it says, and an old task's event changes nothing at all."""
    running.task_changed("t", "arn:task/1")
    assert running.get("t").state == State.RUNNING

    launcher.ends("arn:task/1")
    running.task_changed("t", "arn:task/0")
    assert running.get("t").state == State.RUNNING

    running.task_changed("t", "arn:task/1")
    running.task_changed("t", "arn:task/1")
    assert running.get("t").state == State.STOPPED


def test_running_event_moves_the_start_on(service, launcher):
    """Nobody needs to ask for a start to go on: ECS saying RUNNING is enough."""
    service.ensure("t", scope="turn")
    launcher.runs("arn:task/1")

    service.task_changed("t", "arn:task/1")

    assert (service.get("t").state, service.get("t").detail) == (State.RUNNING, Detail.READY)


def test_lend_never_starts_and_knows_its_generation(running, launcher):
    """Access to what runs, an error for what does not."""
    assert running.lend("t", scope="signin", generation=1).generation == 1
    with pytest.raises(StaleGenerationError):
        running.lend("t", scope="signin", generation=2)
    running.stop("t")
    with pytest.raises(SandboxUnavailableError):
        running.lend("t", scope="signin", generation=1)
    with pytest.raises(SandboxUnavailableError):
        running.lend("never", scope="turn", generation=1)
    assert len(launcher.by_token) == 1


def test_stop_asks_the_task_to_end_and_the_event_ends_it(running, launcher):
    """Stopping is a request; stopped is what ECS says. Stopping twice stops once."""
    assert running.stop("t").state == State.STOPPING
    assert running.stop("t").state == State.STOPPING
    assert running.ensure("t", scope="turn").state == "stopping"

    launcher.ends("arn:task/1")
    running.task_changed("t", "arn:task/1")

    assert running.stop("t").state == State.STOPPED
    assert running.ensure("t", scope="turn").generation == 2


def test_stop_of_a_task_that_is_not_known_yet_names_it_first(service, launcher, clock):
    """A task that a crashed starter may have left is found by repeating RunTask, and then stopped."""
    launcher.crash_after_launch = True
    with pytest.raises(KeyboardInterrupt):
        service.ensure("t", scope="turn")
    with pytest.raises(ConflictError):
        service.stop("t")

    clock.time += 21
    service.stop("t")

    assert launcher.stopped == ["arn:task/1"]


def test_stop_of_nothing_is_nothing(service):
    """There is nothing to stop in a thread that never had a sandbox."""
    assert service.stop("t") is None


def test_sandbox_whose_call_key_is_out_of_use_can_be_stopped(running, controlling, launcher):
    """Its key was rotated twice: it cannot be called any more, and its user is told what helps."""
    row = running.get("t")
    launch = row.launch.model_copy(update={"key_id": "older"}).model_dump_json()
    controlling.table.update_item(
        Key={"thread_id": "t", "sk": "SANDBOX"},
        UpdateExpression="SET launch = :launch",
        ExpressionAttributeValues={":launch": launch},
    )
    with pytest.raises(OpenCodeError, match="Stop it"):
        running.ensure("t", scope="turn")
    running.stop("t")
    launcher.ends("arn:task/1")
    assert 2 == running.ensure("t", scope="turn").generation
