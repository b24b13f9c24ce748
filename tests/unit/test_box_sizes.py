"""What a sandbox has of processor and memory, by name."""

import boto3
import pytest
from botocore.stub import Stubber

from sandbox_ctl.launcher import FargateLauncher
from sandbox_ctl.sizes import Size, Sizes
from tests.controlling import Controlling
from tests.unit.memory_table import MemoryTable
from threadbox.errors import InvalidRequestError


@pytest.fixture
def controlling(clock):
    return Controlling(MemoryTable(), clock)


def test_list_of_the_template_is_read(template):
    """Its default is one of them."""
    parameters = template["Parameters"]
    sizes = Sizes.parse(parameters["SandboxSizes"]["Default"], default=parameters["SandboxSize"]["Default"])
    assert Size("medium", "1024", "2048") == sizes.default
    assert {"small", "medium", "large"} == sizes.by_name.keys()


@pytest.mark.parametrize("listed", ["", "small", "small=512", "small=512/much", "=1/2"])
def test_list_that_is_none_is_refused_at_the_start(listed):
    """Not when somebody waits for a sandbox."""
    with pytest.raises(ValueError, match="size"):
        Sizes.parse(listed, default="small")
    with pytest.raises(ValueError, match="none of"):
        Sizes.parse("small=512/1024", default="large")


def test_size_is_chosen_by_name_and_stays_the_threads(controlling):
    """The next start without a name has the size of the one before, and so has the second try of a start."""
    service, launcher = controlling.service, controlling.launcher
    service.ensure("t", scope="turn", size="small")
    launcher.ends("arn:task/1")
    service.ensure("t", scope="turn")
    again = service.get("t")
    assert (2, "small", "512", "1024") == (again.generation, again.launch.size, again.launch.cpu, again.launch.memory)
    assert "small" == service.status("t").size
    launcher.ends("arn:task/2")
    service.task_changed("t", "any")
    service.ensure("t", scope="turn")
    assert (3, "small") == (service.get("t").generation, service.get("t").launch.size)


def test_nobody_named_one(controlling):
    """It is the operator's default."""
    controlling.service.ensure("t", scope="turn")
    assert "medium" == controlling.service.get("t").launch.size


def test_unknown_size_is_refused_and_nothing_begun(controlling):
    """In words that say which there are."""
    with pytest.raises(InvalidRequestError, match="small, medium"):
        controlling.service.ensure("t", scope="turn", size="enormous")
    assert controlling.store.find("t") is None


def test_run_task_is_told(controlling):
    """Processor and memory are overrides of the task, which stand beside those of the container."""
    controlling.service.ensure("t", scope="turn", size="small")
    ecs = boto3.client("ecs", endpoint_url="http://127.0.0.1:1")
    launcher = FargateLauncher(ecs=ecs, cluster="c", subnets=[], security_group="", public_address=True)
    called = {}
    ecs.meta.events.register("before-parameter-build.ecs.RunTask", lambda params, **_: called.update(params))
    with Stubber(ecs) as stub:
        stub.add_response("run_task", {"tasks": [{"taskArn": "arn"}]})
        launcher.launch(controlling.service.get("t"))
    assert ("512", "1024") == (called["overrides"]["cpu"], called["overrides"]["memory"])
