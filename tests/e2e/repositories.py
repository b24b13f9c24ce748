"""A git repository on this machine, served over plain http as files: the oldest way to fetch one."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", "-c", "safe.directory=*")


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    command = ("git", *IDENTITY, "-C", str(folder), *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


@contextlib.contextmanager
def repository(root: Path) -> Iterator[tuple[str, str]]:
    """Serve one with one commit: its address, and the commit."""
    folder = root / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "README").write_text("here it is\n")
    git(folder, "add", "README")
    git(folder, "commit", "--quiet", "--message", "first")
    git(root, "clone", "--quiet", "--bare", "project", "project.git")
    git(root / "project.git", "update-server-info")
    handler = partial(_Quiet, directory=str(root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/project.git", git(folder, "rev-parse", "HEAD")
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""
