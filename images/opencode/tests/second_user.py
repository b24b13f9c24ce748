"""The agent as another user than sandboxd, where that can be: for root, if that user can reach OpenCode."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import NODE_MODULES

AGENT = 61_234


def second_user() -> dict[str, Any]:
    """Settings of sandboxd; none where there is no second user."""
    closed = [path for path in NODE_MODULES.resolve().parents if not path.stat().st_mode & 0o001]
    return {} if os.geteuid() or closed else {"agent_uid": AGENT, "agent_gid": AGENT}


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that other users may pass through, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="sandboxd-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
