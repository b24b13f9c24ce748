"""How a child process becomes the agent's user: the one place that knows, for whatever runs as the agent."""

import os
from functools import partial
from typing import Any

from sandboxd.agent_home import AgentHome
from sandboxd.kernel import die_with_parent

UMASK = 0o077


def as_agent(home: AgentHome) -> dict[str, Any]:
    """
    Return arguments of ``subprocess`` (and asyncio's) for a child that runs as the agent, and ends with this process.

    Where there is no second user it runs as this process's own.
    """
    identity = {"user": home.uid, "group": home.gid, "extra_groups": []} if home.second_user else {}
    return {
        "umask": UMASK,
        "start_new_session": True,
        "preexec_fn": partial(die_with_parent, os.getpid()),
        **identity,
    }
