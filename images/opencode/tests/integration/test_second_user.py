"""The agent as another user than sandboxd."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from attacks import SEARCH
from harness import ANTHROPIC_KEY, API_KEY, NODE_MODULES, OPENAI_KEY, ScriptedModel, Start, turn_of

AGENT = 61_234

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def test_the_agent_is_kept_from_sandboxd(start: Start, model: ScriptedModel) -> None:
    """It owns its workspace, and cannot read sandboxd's memory, environment or descriptors, nor signal it."""
    closed = [path for path in NODE_MODULES.parents if not path.stat().st_mode & 0o001]
    if closed:
        pytest.skip(f"another user cannot reach OpenCode through {closed[0]}")
    with start(agent_uid=AGENT, agent_gid=AGENT) as sandboxd:
        assert sandboxd.bind(model).json()["protected"] is True
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        attack = Path(sandboxd.directory / "workspace" / "attack.sh")
        pid = sandboxd.process.pid
        attack.write_text(f"""
            id -u; id -G
            cat /proc/{pid}/environ > /dev/null && echo environ
            head -c 1 /proc/{pid}/mem > /dev/null && echo mem
            ls /proc/{pid}/fd > /dev/null && echo fd
            kill -0 {pid} && echo signal
            touch mine ~/mine && echo wrote
        """)
        with sandboxd.events() as lines:
            next(lines)
            sandboxd.prompt("run sh ./attack.sh > result 2>/dev/null")
            turn_of(lines)
        result = (sandboxd.directory / "workspace" / "result").read_text().split()

        assert result == [str(AGENT), str(AGENT), "wrote"]
        assert {AGENT} == {
            (sandboxd.directory / path).stat().st_uid for path in ("workspace", "home", "workspace/mine", "home/mine")
        }


def test_no_key_can_be_printed_by_a_command(start: Start, model: ScriptedModel) -> None:
    """It finds OpenCode's password and the proxy's address, and can use both; the keys are in neither's answers."""
    closed = [path for path in NODE_MODULES.parents if not path.stat().st_mode & 0o001]
    if closed:
        pytest.skip(f"another user cannot reach OpenCode through {closed[0]}")
    keys = {"default": API_KEY, "anthropic": ANTHROPIC_KEY, "openai-api": OPENAI_KEY}
    with start(agent_uid=AGENT, agent_gid=AGENT) as sandboxd:
        sandboxd.bind(model, keys=keys, base_urls={"anthropic": model.base_url, "openai-api": model.base_url})
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        (sandboxd.directory / "workspace" / "search.py").write_text(SEARCH)
        # Not as they are: the search must not find what it looks for in its own command.
        wanted = " ".join(key.encode().hex() for key in keys.values())
        with sandboxd.events() as lines:
            next(lines)
            sandboxd.prompt(f"run python3 search.py {wanted} > result 2>&1")
            turn = turn_of(lines)
        result = (sandboxd.directory / "workspace" / "result").read_text().splitlines()
        told = json.dumps(turn) + sandboxd.log()

    places = ("environment", "processes", "files", "api", "proxy")
    assert result == [f"{place} True False" for place in places]
    assert [key for key in keys.values() if key in told] == []
    assert {ANTHROPIC_KEY} <= {headers.get("x-api-key") for _, headers, _ in model.requests}


def test_memory_is_closed_to_the_same_user_too(start: Start) -> None:
    """Where there is no second user sandboxd is at least not dumpable, unlike other processes of that user."""
    # Root may read everything by its capabilities; without them it is a user like any other.
    powerless = ("setpriv", "--bounding-set=-all")
    with start(wrapper=powerless) as sandboxd, subprocess.Popen([*powerless, "sleep", "1000"]) as other:
        protected = sandboxd.call("GET", "/sandboxd/hello").json()["protected"]
        seen = [
            subprocess.run([*powerless, "cat", f"/proc/{pid}/environ"], capture_output=True, check=False).returncode
            for pid in (sandboxd.process.pid, other.pid)
        ]
        other.kill()

    assert (protected, seen) == (False, [1, 0])
