"""Background processes that a later command has to find and end."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from local.stack.layout import Layout
from local.stack.marks import marked_processes
from local.stack.ports import is_free
from local.stack.processes import Part, PartFailedError, Processes, wait_until

SERVER = """
import http.server, sys
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def layout(tmp_path):
    """A stack's places, from which nothing runs on after the test."""
    layout = Layout.of(tmp_path)
    yield layout
    for pid in marked_processes(layout.mark):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def make_part(layout, free_port):
    """A part that serves HTTP, or runs another program instead."""

    def make(program: str = SERVER, *, made_of: str = "1", seconds: float = 20) -> Part:
        command = (sys.executable, "-c", program, str(free_port))
        return Part(
            name="server", port=free_port, command=command, directory=layout.state, made_of=made_of, ready_path="/",
            environment=layout.clean_environment(), start_seconds=seconds,
        )  # fmt: skip

    return make


def test_a_part_is_found_by_the_next_command_and_stopped(layout, make_part):
    """
    What runs as it should is left alone; stopped, it is gone and its port free.
    """
    part = make_part()
    Processes(layout).start(part)
    first = Processes(layout).find("server")

    Processes(layout).start(part)
    assert Processes(layout).find("server") == first
    Processes(layout).stop("server", patience=5)

    assert Processes(layout).find("server") is None
    assert list(marked_processes(layout.mark)) == []
    assert is_free(part.port)


def test_a_changed_part_is_started_anew(layout, make_part):
    """
    The old process ends first, for both want the same port.
    """
    Processes(layout).start(make_part())
    first = Processes(layout).find("server")

    Processes(layout).start(make_part(made_of="2"))

    second = Processes(layout).find("server")
    assert second.pid != first.pid
    assert list(marked_processes(layout.mark)) == [second.pid]


def test_a_part_that_ends_says_what_it_wrote(layout, make_part):
    """
    The error carries the end of its log.
    """
    with pytest.raises(PartFailedError, match="no such luck"):
        Processes(layout).start(make_part("raise SystemExit('no such luck')"))


def test_a_part_that_is_never_ready_is_an_error(layout, make_part):
    """
    Waiting has an end.
    """
    with pytest.raises(PartFailedError, match="was not ready"):
        Processes(layout).start(make_part("import signal; signal.pause()", seconds=0.3))


def test_a_pid_that_was_used_again_is_not_ours(layout, make_part):
    """
    A pid file that names a process started at another time names none of ours: it must not be stopped.
    """
    Processes(layout).start(make_part())
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        file = layout.pids / "server"
        running = Processes(layout).find("server")
        file.write_text(running.model_copy(update={"pid": stranger.pid}).model_dump_json())

        assert Processes(layout).find("server") is None
        Processes(layout).stop("server", patience=1)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_strays_end_and_parts_do_not(layout, make_part):
    """
    A process that carries the mark and belongs to no running part is ended, whoever its parent is now.
    """
    Processes(layout).start(make_part())
    shell = subprocess.run(
        ["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!"], env=layout.clean_environment(),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    stray = int(shell.stdout)
    assert wait_until(lambda: stray in set(marked_processes(layout.mark)), seconds=5)

    Processes(layout).end_strays()

    assert list(marked_processes(layout.mark)) == [Processes(layout).find("server").pid]
