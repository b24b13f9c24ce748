"""The change from root to a user of sandboxd's own."""

import json
import os
import subprocess
import sys

import pytest

from sandboxd.own_user import KEPT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

OWN, AGENT = 61_233, 61_234
ASK = """
import json, subprocess, sys
from pathlib import Path
from sandboxd import own_user
own_user.become({uid}, {uid})
def status(text):
    found = dict(line.split(":", 1) for line in text.split("\\n") if line)
    names = ("Uid", "Groups", "CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs")
    return {{name: found[name].split() for name in names}}
cat = [{python!r}, "-c", "print(open('/proc/self/status').read())"]
kept = subprocess.run(cat, capture_output=True, text=True, check=True).stdout
agent = subprocess.run(cat, capture_output=True, text=True, check=True, user={agent}, group={agent}, extra_groups=[])
texts = (Path("/proc/self/status").read_text(), kept, agent.stdout)
print(json.dumps([own_user.can_become_another(), *map(status, texts)]))
"""
NONE = ["0" * 16]


def become(uid: int, *wrapper: str) -> subprocess.CompletedProcess[str]:
    """A process that does it and says what it then is, and what two children are: one of the agent's user."""
    # Where other users may read it: a virtual environment's interpreter may lie in root's home.
    program = ASK.format(uid=uid, agent=AGENT, python="/usr/bin/python3")
    command = [*wrapper, sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_keeps_a_few_capabilities_that_no_child_gets() -> None:
    """The process holds them itself; what it executes has none, as either user, and cannot get any."""
    can, own, child, agent = json.loads(become(OWN).stdout)
    kept = [f"{sum(1 << each for each in KEPT):016x}"]

    assert (can, own["Uid"], own["Groups"], own["NoNewPrivs"]) == (True, [str(OWN)] * 4, [], ["1"])
    assert (own["CapPrm"], own["CapEff"], own["CapInh"], own["CapAmb"]) == (kept, kept, NONE, NONE)
    for uid, found in ((OWN, child), (AGENT, agent)):
        assert (found["Uid"], found["NoNewPrivs"]) == ([str(uid)] * 4, ["1"])
        assert (found["CapPrm"], found["CapEff"], found["CapInh"], found["CapAmb"]) == (NONE, NONE, NONE, NONE)


def test_without_a_user_nothing_changes() -> None:
    """A laptop's sandboxd stays who started it."""
    can, own, _, _ = json.loads(become(0).stdout)

    assert (can, own["Uid"], own["NoNewPrivs"]) == (True, ["0"] * 4, ["0"])


def test_what_was_not_granted_is_an_error() -> None:
    """It does not go on with less than it needs."""
    refused = become(OWN, "setpriv", "--bounding-set=-chown", "--inh-caps=-all")

    assert refused.returncode != 0
    assert "PermissionError" in refused.stderr
