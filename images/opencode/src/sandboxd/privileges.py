"""
How a child process becomes the agent's user.

A program of somebody else's is started as that user (``agent_identity``). One of our own modules is started as
sandboxd's user, so that neither interpreter nor module need be the agent's to read, and becomes the agent before it
looks at anything of the agent's (``become``).
"""

import os
from typing import TypedDict

from sandboxd.agent_home import AgentHome

UMASK = 0o077


class Identity(TypedDict, total=False):
    """Arguments of ``subprocess``; none where there is no second user."""

    user: int
    group: int
    extra_groups: list[int]


def agent_identity(home: AgentHome) -> Identity:
    """Whom a child of sandboxd is to be when it runs as the agent."""
    return {"user": home.uid, "group": home.gid, "extra_groups": []} if home.second_user else {}


def become(uid: int, gid: int) -> None:
    """
    Be that user and group from now on, and nothing of who this process was. 0 means that there is no second user.

    Raises:
        OSError: this process may not become them.
    """
    os.umask(UMASK)
    if uid:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
