"""What outlives a sandbox, with the real OpenCode: another process, in other directories, goes on with it."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import THREAD, ControlPlane, Sandboxd, ScriptedModel, running
from storage import Bucket, running_bucket
from turns import asked

from sandboxd.contract import ExitCode
from sandboxd.memory.manifest import ARCHIVE, MANIFEST


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with running_bucket() as bucket:
        yield bucket


def begun(sandboxd: Sandboxd, model: ScriptedModel, bucket: Bucket) -> dict[str, Any]:
    """Bind it to its thread's memory, and return its status when it is ready."""
    answer = sandboxd.bind(model, memory=bucket.memory(THREAD, sandboxd.plane.gen))
    assert answer.status_code == 200, answer.text
    status = sandboxd.until_ready()
    assert status["state"] == "ready", sandboxd.log()
    return status


def heard(model: ScriptedModel) -> list[str]:
    """What users said in the last conversation that the model was sent."""
    _, _, body = model.requests[-1]
    parts = [message["content"] for message in body["messages"] if message["role"] == "user"]
    return [part if isinstance(part, str) else part[0]["text"] for part in parts]


def test_killed_sandbox_goes_on_in_the_next_one(model: ScriptedModel, bucket: Bucket, directory: Path) -> None:
    """
    Its files are there, though its workspace has become a repository, and the agent knows what was said.

    What was not saved yet is saved when the next one is ended, within the time that ECS leaves it.
    """
    commands = "run git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m m && echo 7 > n"
    with running(ControlPlane(gen=1), directory, save_seconds=0.1) as first:
        session = begun(first, model, bucket)["session_id"]
        asked(first, commands)
        bucket.until_stored(MANIFEST)
        asked(first, "the second")
        bucket.until_stored(MANIFEST, count=2)
        first.process.kill()
        first.process.wait()
    for place in ("workspace", "home"):
        (directory / place).rename(directory / f"old-{place}")
    with running(ControlPlane(gen=2), directory, save_seconds=3600, settle_seconds=3600) as second:
        status = begun(second, model, bucket)
        asked(second, "the third")

        assert (session, "restored") == (status["session_id"], status["memory"]["restored"])
        assert (directory / "workspace" / "n").read_text() == "7\n"
        assert (directory / "workspace" / ".git" / "HEAD").exists()
        assert heard(model) == [commands, "the second", "the third"]
        assert second.call("GET", "/sandboxd/status").json()["memory"]["unsaved"] is True
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(20) == 0, second.log()
    late = [name.removeprefix(bucket.prefix(THREAD, 2)) for name in sorted(bucket.objects)][-2:]
    assert late == [f"{1:010d}/{ARCHIVE}", f"{1:010d}/{MANIFEST}"]
    kept = {path.name for path in (directory / "home" / ".local" / "share" / "opencode").iterdir()}
    assert not {"auth.json"} & kept


def test_form_is_renewed_and_memory_discarded_by_control_calls_alone(
    model: ScriptedModel, bucket: Bucket, directory: Path
) -> None:
    """A form that is over is replaced; when the thread is deleted nothing more is saved, not even at the end."""
    with running(ControlPlane(gen=1), directory, save_seconds=0.1) as sandboxd:
        over = {"upload": bucket.upload(THREAD, 1, signature="over"), "kept": []}
        assert sandboxd.call("PUT", "/sandboxd/memory", bucket.upload(THREAD, 1)).status_code == 503
        sandboxd.bind(model, memory=over)
        assert sandboxd.until_ready()["memory"] == {
            "restored": "nothing",
            "unsaved": False,
            "saved": None,
            "problem": None,
        }
        asked(sandboxd, "one")
        for method in ("PUT", "DELETE"):
            assert sandboxd.turn_call(method, "/sandboxd/memory", bucket.upload(THREAD, 1)).status_code == 403
        assert sandboxd.call("PUT", "/sandboxd/memory", {"url": "x"}).status_code == 422
        assert sandboxd.call("PUT", "/sandboxd/memory", bucket.upload(THREAD, 1)).status_code == 200
        bucket.until_stored(MANIFEST)
        assert sandboxd.call("DELETE", "/sandboxd/memory").json() == {"discarded": True}
        bucket.objects.clear()
        asked(sandboxd, "two")
        sandboxd.call("POST", "/sandboxd/stop")
        assert sandboxd.process.wait(20) == 0
    assert bucket.objects == {}


def test_memory_that_cannot_be_asked_for_ends_the_start(model: ScriptedModel, bucket: Bucket, directory: Path) -> None:
    """With a code of its own, and without OpenCode: it is not taken for lost."""
    urls = {"manifest_url": "http://127.0.0.1:9/m", "archive_url": "http://127.0.0.1:9/a"}
    memory = {"upload": bucket.upload(THREAD, 2), "kept": [{"generation": 1, "sequence": 1, **urls}]}
    with running(ControlPlane(gen=2), directory) as sandboxd:
        assert sandboxd.bind(model, memory=memory).json()["state"] == "restoring"
        assert sandboxd.process.wait(20) == ExitCode.NOT_RESTORED
        assert "127.0.0.1:9" not in sandboxd.log()
