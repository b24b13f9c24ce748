"""The image as its Dockerfile makes it: what holds between its users, and how it ends."""

import os
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import BREAK_OUT, SEARCH
from harness import ANTHROPIC_KEY, API_KEY, OPENAI_KEY, ScriptedModel, turn_of, until_gone
from image import STOP_SECONDS, Container, Image, container

from local.image.chroot import why_not
from sandboxd.kernel import OOM_SCORE
from sandboxd.own_user import KEPT

SANDBOXD, AGENT = "1000", "1001"
KEYS = {"default": API_KEY, "anthropic": ANTHROPIC_KEY, "openai-api": OPENAI_KEY}

_reason = why_not()
# Building fetches a distribution, which is a matter of the network.
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(_reason is not None, reason=str(_reason)),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    directory = tmp_path_factory.mktemp("image") / "stages"
    yield Image.build(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def ready(image: Image, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A container that is bound and whose OpenCode answers."""
    with container(image, tmp_path_factory.mktemp("ready")) as running:
        base_urls = {"anthropic": model.base_url, "openai-api": model.base_url}
        answer = running.sandboxd.bind(model, keys=KEYS, base_urls=base_urls)
        assert answer.json()["protected"] is True, running.sandboxd.log()
        assert running.sandboxd.until_ready()["state"] == "ready", running.sandboxd.log()
        yield running


def ran(running: Container, command: str) -> list[str]:
    """The lines that a command of the agent's prints."""
    with running.sandboxd.events() as lines:
        next(lines)
        running.sandboxd.prompt(f"run ({command}) > result 2>&1")
        turn_of(lines)
    return (running.image.root / "workspace" / "result").read_text().splitlines()


def ran_as_script(running: Container, commands: str) -> list[str]:
    """As ``ran``, where a place outside of the workspace is named: OpenCode would ask its user about that."""
    (running.image.root / "workspace" / "commands.sh").write_text(f"set -e\n{commands}")
    return ran(running, "sh ./commands.sh")


def test_each_process_has_its_user_and_no_more_than_it_needs(ready: Container) -> None:
    """sandboxd is process 1, keeps a few capabilities and gets no others; OpenCode has none."""
    sandboxd, opencode = ready.status(ready.pid), ready.status(ready.opencode())
    kept = sum(1 << capability for capability in KEPT)

    assert (sandboxd["Uid"].split(), sandboxd["Groups"], sandboxd["NSpid"].split()[-1]) == ([SANDBOXD] * 4, "", "1")
    assert [int(sandboxd[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [kept, kept, 0, 0]
    assert (opencode["Uid"].split(), opencode["Gid"].split(), opencode["Groups"]) == ([AGENT] * 4, [AGENT] * 4, "")
    assert {int(opencode[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
    assert (sandboxd["NoNewPrivs"], opencode["NoNewPrivs"]) == ("1", "1")


def test_where_memory_runs_out_the_agent_is_ended_first(ready: Container) -> None:
    """OpenCode, and with it every command that it starts, comes before sandboxd."""
    scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (ready.pid, ready.opencode())]

    assert scores[1] - scores[0] == OOM_SCORE
    assert ran_as_script(ready, "cat /proc/self/oom_score_adj") == [str(scores[1])]


def test_the_agent_gets_at_nothing_of_sandboxds(ready: Container) -> None:
    """Not its memory, environment or descriptors, no signal, no trace; and neither's program can be changed."""
    workspace = ready.image.root / "workspace"
    (workspace / "break_out.py").write_text(BREAK_OUT)
    places = (
        "/opt", "/opt/sandboxd", "/opt/sandboxd/bin/python", "/opt/opencode/node_modules", "/usr/bin", "/usr/local/bin",
        "/etc", "/etc/passwd", "/etc/ld.so.cache", "/opt/opencode/node_modules/opencode-linux-x64/bin/opencode",
    )  # fmt: skip

    assert ran(ready, f"python3 break_out.py 1 {' '.join(places)}") == [f"tried {14 + len(places)}"]
    assert ready.healthy()


def test_no_key_can_be_found_by_the_agent(ready: Container) -> None:
    """Not in its environment, other processes, files, OpenCode's answers or the model proxy's."""
    (ready.image.root / "workspace" / "search.py").write_text(SEARCH)
    wanted = " ".join(key.encode().hex() for key in KEYS.values())

    found = ran(ready, f"python3 search.py {wanted}")

    assert found == [f"{place} True False" for place in ("environment", "processes", "files", "api", "proxy")]


def test_the_agent_has_its_tools(ready: Container) -> None:
    """In its workspace: git, ripgrep, Python and Node; and its own OpenCode tools find the plugin package offline."""
    imports = "import { tool } from '@opencode-ai/plugin'; console.log(typeof tool)"
    git = "git -c user.name=a -c user.email=a@b"
    commands = (
        "id -un",
        "pwd",
        f"git init -q p && cd p && echo needle > hay && git add . && {git} commit -qm one && git log --format=%s",
        "rg -l needle",
        "python3 -m venv --without-pip .venv && .venv/bin/python -c 'print(6*7)'",
        "node -p 6*7",
        "npm --version > /dev/null && echo npm",
        f'cd ~/.config/opencode && node --input-type=module -e "{imports}"',
    )

    assert ran_as_script(ready, "\n".join(commands)) == [
        "agent",
        "/workspace",
        "one",
        "hay",
        "42",
        "42",
        "npm",
        "function",
    ]


def test_its_health_is_told_truthfully(ready: Container) -> None:
    """Well while sandboxd answers, not well while it is held up, well again afterwards; and not where none is."""
    before = ready.healthy()
    os.kill(ready.pid, signal.SIGSTOP)
    try:
        held_up = ready.healthy()
    finally:
        os.kill(ready.pid, signal.SIGCONT)
    nowhere = ready.execute([*ready.image.facts["healthcheck"], "127.254.254.254"]).returncode

    assert (before, held_up, ready.healthy(), nowhere) == (True, False, True, 1)


def test_programs_are_roots_and_give_nobody_another_user(image: Image) -> None:
    """What sandboxd and OpenCode are made of can be changed by root alone; there is no set-user-id program."""
    changeable, powerful = [], []
    for folder, folders, names in os.walk(image.root):
        for path in (Path(folder, name) for name in (*folders, *names)):
            facts = path.lstat()
            if not stat.S_ISREG(facts.st_mode) and not stat.S_ISDIR(facts.st_mode):
                continue
            inside = path.relative_to(image.root)
            if stat.S_ISREG(facts.st_mode) and facts.st_mode & (stat.S_ISUID | stat.S_ISGID):
                powerful.append(inside)
            if inside.parts[0] in ("opt", "usr", "etc") and (facts.st_uid != 0 or facts.st_mode & 0o022):
                changeable.append(inside)

    # Debian keeps one folder for its staff.
    assert [path for path in changeable if path.parts[:2] != ("usr", "local")] == []
    assert powerful == []


def test_sigterm_ends_it_and_all_it_started(
    image: Image, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In time, with a clean exit code, in the middle of a turn and with processes that left their session."""
    with container(image, tmp_path_factory.mktemp("ending")) as running:
        running.sandboxd.bind(model)
        assert running.sandboxd.until_ready()["state"] == "ready", running.sandboxd.log()
        stubborn = "setsid sh -c 'trap : TERM; sleep 1000' > /dev/null 2>&1 &"
        assert ran(running, f"setsid sleep 1000 > /dev/null 2>&1 & {stubborn}") == []
        running.sandboxd.prompt("hold")
        opencode = running.opencode()
        os.kill(running.pid, signal.Signals[image.facts["stop_signal"]])

        assert running.sandboxd.process.wait(STOP_SECONDS) == 0, running.sandboxd.log()
        until_gone(opencode)
