"""Commands of the control plane, run by real shells."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import ControlPlane, Sandboxd, ScriptedModel, Start, running
from second_user import AGENT, open_directory, second_user

from sandboxd.launcher import Order

# Whoever wants to outlive a command: in a session of its own, twice forked, in another environment, deaf to signals.
DAEMON = "(setsid setsid env -i /bin/sh -c 'trap \"\" TERM HUP INT; echo $$ > {name}; while :; do sleep 60; done' &)"


@pytest.fixture(scope="module")
def sandboxd(model: ScriptedModel) -> Iterator[Sandboxd]:
    settings = {"parallel_execs": 3, **second_user()}
    with open_directory() as directory, running(ControlPlane(), directory, **settings) as sandboxd:
        assert sandboxd.bind(model).status_code == 200
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        yield sandboxd
        assert "Traceback" not in sandboxd.log()


def run(sandboxd: Sandboxd, command: str, **more: object) -> dict[str, Any]:
    answer = sandboxd.call("POST", "/sandboxd/exec", {"command": command, **more})
    assert answer.status_code in (200, 202), answer.text
    result: dict[str, Any] = answer.json()
    return result


def look(sandboxd: Sandboxd, exec_id: str, after: str = "0.0", wait: int = 0) -> dict[str, Any]:
    answer = sandboxd.call("GET", f"/sandboxd/exec/{exec_id}?after={after}&wait={wait}")
    assert answer.status_code == 200, answer.text
    state: dict[str, Any] = answer.json()
    return state


def refusal(sandboxd: Sandboxd, method: str, path: str, body: object = None) -> tuple[int, str]:
    answer = sandboxd.call(method, path, body)
    return answer.status_code, answer.json()["code"]


def pid_in(sandboxd: Sandboxd, name: str) -> int:
    return pid_at(sandboxd.directory / "workspace" / name)


def pid_at(path: Path) -> int:
    """The process id that was written there, waited for."""
    deadline = time.monotonic() + 10
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    return int(path.read_text())


def test_outcome_is_told_whole(sandboxd: Sandboxd) -> None:
    """Both streams apart, the exit code, and how long it took."""
    result = run(sandboxd, "echo out; echo err >&2; exit 3")

    assert 0 <= result.pop("duration_ms") < 20_000
    assert result == {"exit_code": 3, "stdout": "out\n", "stderr": "err\n", "truncated": False}


def test_command_is_given_what_was_asked_for(sandboxd: Sandboxd) -> None:
    """Standard input, variables and a directory of the workspace."""
    run(sandboxd, "mkdir -p deep/er")
    result = run(sandboxd, 'cat; echo "$NAME"; pwd', stdin="in ä\n", env={"NAME": "a'b"}, cwd="deep/er")

    assert result["stdout"] == f"in ä\na'b\n{sandboxd.directory}/workspace/deep/er\n"


def test_command_that_reads_nothing_is_not_waited_for(sandboxd: Sandboxd) -> None:
    """However much it could have read."""
    assert run(sandboxd, "true", stdin="x" * 1_000_000)["exit_code"] == 0


def test_streams_can_be_opened_by_name(sandboxd: Sandboxd) -> None:
    """As programs do that know of no other way."""
    result = run(sandboxd, "cat /dev/stdin > /dev/stdout; echo err > /dev/stderr", stdin="in")

    assert (result["exit_code"], result["stdout"], result["stderr"]) == (0, "in", "err\n")


def test_output_that_was_given_away_is_not_waited_for(sandboxd: Sandboxd) -> None:
    """Somebody else, whom the command did not start, holds its streams; it has ended all the same."""
    give = """import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect("taker")
socket.send_fds(s, [b"x"], [0, 1, 2])
print("given")
"""
    workspace = sandboxd.directory / "workspace"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taker:
        taker.bind(str(workspace / "taker"))
        (workspace / "taker").chmod(0o777)
        taker.listen()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run, sandboxd, f"python3 -c '{give}'")
            connection, _ = taker.accept()
            with connection:
                _, taken, _, _ = socket.recv_fds(connection, 1, 3)
                result = running.result(20)
        for descriptor in taken:
            os.close(descriptor)

    assert (result["exit_code"], result["stdout"]) == (0, "given\n")
    assert result["duration_ms"] < 10_000


def test_command_is_the_agents(sandboxd: Sandboxd) -> None:
    """Another user than sandboxd where there is one, in no group of sandboxd's, without a secret in its environment."""
    result = run(sandboxd, "id -u; id -G; env; cat /proc/$PPID/environ | tr '\\0' '\\n'")
    lines = result["stdout"].splitlines()
    expected = second_user().get("agent_uid", os.geteuid())

    assert int(lines[0]) == expected
    assert second_user() == {} or lines[1] == str(AGENT)
    assert [line for line in lines if "SANDBOXD_" in line or "PASSWORD" in line or "canary" in line] == []


@pytest.mark.parametrize(
    ("end", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("nonexistent-command", 127)]
)
def test_all_that_was_started_ends_with_the_command(sandboxd: Sandboxd, end: str, code: int) -> None:
    """However that ended, and whatever the rest does to live on."""
    name = f"pid-{code}"
    result = run(sandboxd, f"{DAEMON.format(name=name)}; while [ ! -s {name} ]; do :; done; {end}")

    assert result["exit_code"] == code
    assert not Path(f"/proc/{pid_in(sandboxd, name)}").exists()


def test_all_that_was_started_ends_at_the_timeout(sandboxd: Sandboxd) -> None:
    """What was printed until then is told."""
    result = run(sandboxd, f"echo begun; {DAEMON.format(name='pid-t')}; sleep 1000 | sleep 1001", timeout_seconds=0.6)

    assert (result["exit_code"], result["stdout"]) == (124, "begun\n")
    assert not Path(f"/proc/{pid_in(sandboxd, 'pid-t')}").exists()


def test_many_processes_end_too(sandboxd: Sandboxd) -> None:
    """A tree that grows while it is cut down."""
    bush = "f() { [ $1 = 0 ] || { f $(($1 - 1)) & setsid sleep 1000 & f $(($1 - 1)) & }; sleep 1000; }; f 5"
    result = run(sandboxd, f"{bush}", timeout_seconds=0.5)
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if _of(path, sandboxd) and _is_sleep(path.parent)]

    assert (result["exit_code"], left) == (124, [])


def _of(path: Path, sandboxd: Sandboxd) -> bool:
    try:
        return f"HOME={sandboxd.directory}/home".encode() in path.read_bytes()
    except OSError:
        return False


def _is_sleep(process: Path) -> bool:
    try:
        return b"sleep" in (process / "cmdline").read_bytes()
    except OSError:
        return False


def test_end_of_the_output_is_kept(sandboxd: Sandboxd) -> None:
    """A megabyte of each stream, and it is said that there was more."""
    result = run(sandboxd, "seq 1 400000; seq 1 3 >&2")

    assert (result["truncated"], len(result["stdout"]), result["stderr"]) == (True, 1024 * 1024, "1\n2\n3\n")
    assert result["stdout"].endswith("399999\n400000\n")


def test_output_that_is_no_text_fits_into_an_answer(sandboxd: Sandboxd) -> None:
    """A function may answer 6 MB, of which each odd byte would take six."""
    answer = sandboxd.call("POST", "/sandboxd/exec", {"command": "head -c 1000000 /dev/zero | tee /dev/stderr"})

    assert len(answer.content) < 5_500_000
    assert answer.json()["truncated"] is True


def test_command_in_the_background_is_followed(sandboxd: Sandboxd) -> None:
    """Each look waits for something new, and has what came behind the one before; the end comes last."""
    os.mkfifo(sandboxd.directory / "workspace" / "fifo", 0o666)
    (sandboxd.directory / "workspace" / "fifo").chmod(0o666)
    begun = run(sandboxd, "echo one; cat fifo; echo two >&2; exit 5", exec_id="followed", timeout_seconds=60)
    again = run(sandboxd, "never", exec_id="followed")
    states = [look(sandboxd, "followed", wait=10)]
    (sandboxd.directory / "workspace" / "fifo").write_text("through\n")
    while states[-1]["status"] == "running":
        states.append(look(sandboxd, "followed", states[-1]["next"], wait=10))

    assert (begun["exec_id"], again["exec_id"], begun["exit_code"]) == ("followed", "followed", None)
    assert (states[0]["stdout"], states[0]["exit_code"]) == ("one\n", None)
    assert "".join(state["stdout"] for state in states) == "one\nthrough\n"
    assert "".join(state["stderr"] for state in states) == "two\n"
    assert (states[-1]["exit_code"], states[-1]["truncated"]) == (5, False)


def test_command_in_the_background_is_killed(sandboxd: Sandboxd) -> None:
    """With all that it started, before that is answered; to kill it again changes nothing."""
    run(sandboxd, f"{DAEMON.format(name='pid-k')}; sleep 1000", exec_id="killed", timeout_seconds=60)
    daemon = pid_in(sandboxd, "pid-k")
    states = [sandboxd.call("DELETE", "/sandboxd/exec/killed").json() for _ in range(2)]

    assert [(state["status"], state["exit_code"]) for state in states] == [("ended", 137)] * 2
    assert not Path(f"/proc/{daemon}").exists()


def test_as_much_as_may_be_told_is_told(sandboxd: Sandboxd) -> None:
    """The longest command with the most variables can be started."""
    env = {f"A{n}": "x" * 95_000 for n in range(5)}
    result = run(sandboxd, "echo ${#A4}; #" + "x" * 95_000, env=env)

    assert (result["exit_code"], result["stdout"]) == (0, "95000\n")


def test_no_more_run_at_once_than_may(sandboxd: Sandboxd) -> None:
    """Whoever comes too much is told so, and nothing of it runs."""
    with ThreadPoolExecutor(8) as pool:
        order = {"command": "sleep 0.7; echo ran"}
        answers = list(pool.map(lambda _: sandboxd.call("POST", "/sandboxd/exec", order), range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 5
    assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {"too_many_execs"}


@pytest.mark.parametrize(
    "body",
    [
        {"command": ""},
        {"command": "a\0b"},
        {"command": "x" * 100_000},
        {"command": "\ud800"},
        {"command": "true", "cwd": "../elsewhere"},
        {"command": "true", "cwd": "/"},
        {"command": "true", "env": {"A=B": "c"}},
        {"command": "true", "env": {"A": "\0"}},
        {"command": "true", "env": {f"A{n}": "x" * 90_000 for n in range(6)}},
        {"command": "true", "timeout_seconds": 0},
        {"command": "true", "timeout_seconds": 1e400},
        {"command": "true", "timeout_seconds": 3601},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_order_that_cannot_be_is_refused(sandboxd: Sandboxd, body: dict[str, object]) -> None:
    """Before anything runs."""
    assert refusal(sandboxd, "POST", "/sandboxd/exec", body) == (422, "invalid_request")


def test_directory_is_in_the_workspace(sandboxd: Sandboxd) -> None:
    """No link leads out of it, nor does one that is not there."""
    run(sandboxd, "ln -sfn / root; mkdir -p d; ln -sfn .. d/up")

    for cwd in ("root", "root/tmp", "d/up", "missing"):
        assert refusal(sandboxd, "POST", "/sandboxd/exec", {"command": "true", "cwd": cwd}) == (409, "path_conflict")


def test_others_are_not_let_in(sandboxd: Sandboxd) -> None:
    """A turn's token opens none of it, and an unknown id leads nowhere."""
    token = sandboxd.plane.turn()
    for method, path in (("POST", "exec"), ("GET", "exec/x"), ("PUT", "files/x"), ("POST", "git/checkout")):
        assert sandboxd.call(method, f"/sandboxd/{path}", token=token).status_code == 403
    assert refusal(sandboxd, "GET", "/sandboxd/exec/unknown") == (404, "no_exec")


def test_commands_end_with_the_sandbox(start: Start, model: ScriptedModel) -> None:
    """Nothing of them is left, and the end is not held up by them."""
    with start(**second_user()) as sandboxd:
        sandboxd.bind(model)
        sandboxd.until_ready()
        run(sandboxd, f"{DAEMON.format(name='pid-e')}; sleep 1000", exec_id="e", timeout_seconds=3600)
        daemon = pid_in(sandboxd, "pid-e")
        sandboxd.process.terminate()

        assert sandboxd.process.wait(15) == 0
        assert not Path(f"/proc/{daemon}").exists()


def test_command_ends_when_sandboxd_is_gone(tmp_path: Path) -> None:
    """Without a container around it, too: its launcher sees to that."""
    ours, theirs = socket.socketpair()
    order = Order(
        argv=["/bin/sh", "-c", f"{DAEMON.format(name='pid')}; sleep 1000"],
        env={"PATH": os.environ["PATH"]},
        workspace=str(tmp_path),
        cwd=[],
        uid=0,
        gid=0,
    )
    with theirs:
        command = (sys.executable, "-c", "import sys; from sandboxd.launcher import main; main(sys.argv[1:])")
        launcher = subprocess.Popen([*command, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    with ours:
        ours.sendall(json.dumps(order).encode() + b"\n")
        daemon = pid_at(tmp_path / "pid")

    assert launcher.wait(15) == 0
    assert not Path(f"/proc/{daemon}").exists()
