"""The agent as another user than sandboxd, where that can be: for root, if that user can reach OpenCode."""

import os
from pathlib import Path
from typing import Any

from harness import NODE_MODULES

AGENT = 61_234


def second_user() -> dict[str, Any]:
    """Settings of sandboxd; none where there is no second user."""
    closed = [path for path in NODE_MODULES.resolve().parents if not path.stat().st_mode & 0o001]
    return {} if os.geteuid() or closed else {"agent_uid": AGENT, "agent_gid": AGENT}


def let_through(directory: Path) -> None:
    """Let the agent's user pass through a directory of pytest's."""
    for place in (directory, directory.parent, directory.parent.parent):
        place.chmod(0o755)
