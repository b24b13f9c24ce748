"""The pieces of the local ECS that need no process."""

import pytest

from local.ecs.addresses import AddressPool
from local.ecs.faults import FaultOrder, Faults
from local.ecs.image import Image, ImageIncompleteError
from local.ecs.isolation import Isolation
from local.ecs.tasks import Task, TaskDefinition


@pytest.fixture
def image(tmp_path) -> Image:
    """An image whose parts every user may execute, as far as they are concerned."""
    opencode = tmp_path / "opencode"
    opencode.write_text("")
    opencode.chmod(0o755)
    return Image(environment=tmp_path / "environment", source=tmp_path, opencode=opencode)


def test_an_address_is_used_again_late():
    """
    One that was given back comes round after all the others.
    """
    pool = AddressPool("127.250", port=4096)
    first = pool.take()
    pool.give_back(first)

    assert first == "127.250.1.1"
    assert pool.take() == "127.250.1.2"


def test_what_is_not_protected_is_said(image, tmp_path):
    """
    The fewer means the machine has, the longer the list.
    """
    full = Isolation(namespaces=True, root=True).protection(image, tmp_path)
    one_user = Isolation(namespaces=True, root=False).protection(image, tmp_path)
    none = Isolation(namespaces=False, root=False).protection(image, tmp_path)

    assert "network" in full[0]
    assert len(full) < len(one_user) < len(none)
    assert any("same user" in gap for gap in one_user)
    assert any("bubblewrap" in gap for gap in none)


def test_without_namespaces_the_agent_must_reach_opencode(image, tmp_path):
    """
    A second user who could not execute OpenCode would be of no use.
    """
    plain = Isolation(namespaces=False, root=True)
    image.opencode.chmod(0o700)

    assert not plain.second_user(image, tmp_path)
    assert Isolation(namespaces=True, root=True).second_user(image, tmp_path)


def test_a_missing_part_of_the_image_is_named(image):
    """
    So that the task's stopped reason tells what to install.
    """
    with pytest.raises(ImageIncompleteError, match="environment/bin/python is missing"):
        image.check()


def test_an_interpreter_is_followed_through_all_its_links(tmp_path):
    """
    Each folder on the way is needed under its own name.
    """
    for name in ("real", "alias"):
        (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / "real" / "bin" / "python").write_text("")
    (tmp_path / "alias" / "bin" / "python").symlink_to(tmp_path / "real" / "bin" / "python")
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python3").symlink_to(tmp_path / "alias" / "bin" / "python")
    (environment / "bin" / "python").symlink_to("python3")

    image = Image(environment=environment, source=tmp_path, opencode=tmp_path)

    assert image.interpreter_prefixes() == [tmp_path / "alias", tmp_path / "real"]


def test_events_tell_times_in_words():
    """
    The API has numbers where events have ISO 8601.
    """
    definition = TaskDefinition(
        arn="arn:d:1", family="d", container="c", environment={}, stop_timeout=1, cpu="1", memory="2"
    )
    task = Task(id="1", cluster="c", definition=definition, address="127.64.1.1", request={}, created_at=0.5)

    assert task.describe()["createdAt"] == 0.5
    assert task.event()["createdAt"] == "1970-01-01T00:00:00.500Z"
    assert "startedAt" not in task.event()


def test_faults_come_as_often_as_ordered():
    """
    And not once more; an order of none takes it back.
    """
    faults = Faults()
    faults.order(FaultOrder(run_task="throttle", count=2))

    assert [faults.due("run_task", "throttle") for _ in range(3)] == [True, True, False]
    assert not faults.due("run_task", "no_capacity")
    faults.order(FaultOrder(run_task="throttle", count=5))
    faults.order(FaultOrder(run_task="throttle", count=0))
    assert not faults.due("run_task", "throttle")
