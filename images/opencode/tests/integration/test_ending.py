"""How a sandbox ends, and that nothing is left."""

import os
import signal
from pathlib import Path

from harness import Sandboxd, ScriptedModel, Start, turn_of, until_gone


def booting(sandboxd: Sandboxd) -> int:
    """Bind, and return OpenCode's process id as soon as there is one."""
    sandboxd.bind()
    return sandboxd.opencode_pid()


def test_stop_ends_both(start: Start) -> None:
    """Even while it boots; the exit code is a clean one."""
    with start() as sandboxd:
        opencode = booting(sandboxd)
        answer = sandboxd.call("POST", "/sandboxd/stop")

        assert (answer.status_code, answer.json()["state"]) == (202, "stopping")
        assert sandboxd.process.wait(10) == 0
    assert not Path(f"/proc/{opencode}").exists()


def test_killed_sandboxd_takes_opencode_along(start: Start) -> None:
    """No signal of ours is needed for that."""
    with start() as sandboxd:
        opencode = booting(sandboxd)
        sandboxd.process.kill()
        sandboxd.process.wait()

        until_gone(opencode)


def test_sigterm_ends_all_the_agent_started(start: Start, model: ScriptedModel) -> None:
    """Open streams end, and so do processes that left their session and their parent."""
    with start() as sandboxd:
        sandboxd.bind(model)
        assert sandboxd.until_ready()["state"] == "ready"
        with sandboxd.events() as lines:
            next(lines)
            sandboxd.prompt("run setsid sleep 1000 > /dev/null 2>&1 & echo $! > left-behind")
            turn_of(lines)
            left_behind = int((sandboxd.directory / "workspace" / "left-behind").read_text())
            assert b"sleep" in Path(f"/proc/{left_behind}/cmdline").read_bytes()

            sandboxd.process.send_signal(signal.SIGTERM)
            assert not [line for line in lines if line["type"] == "gap"]  # reads to the end of the stream

        assert sandboxd.process.wait(10) == 0
    assert not Path(f"/proc/{left_behind}").exists()


def test_opencode_dying_ends_sandboxd(start: Start, model: ScriptedModel) -> None:
    """With a code of its own: the thread's next message starts another task."""
    with start() as sandboxd:
        sandboxd.bind(model)
        assert sandboxd.until_ready()["state"] == "ready"
        os.kill(sandboxd.opencode_pid(), signal.SIGKILL)

        assert sandboxd.process.wait(10) == 4
