"""A server of git repositories over plain http, by git's own CGI program."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", "-c", "safe.directory=*")


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    command = ("git", *IDENTITY, "-C", str(folder), *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def make_repository(folder: Path) -> tuple[str, str]:
    """A repository of two commits and a branch ``other``, which is the first one."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    for text in ("first", "second"):
        (folder / "file").write_text(text)
        git(folder, "add", "file")
        git(folder, "commit", "--quiet", "--message", text)
    first, second = git(folder, "rev-parse", "HEAD~1"), git(folder, "rev-parse", "HEAD")
    git(folder, "branch", "other", first)
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    return first, second


@contextlib.contextmanager
def git_server(root: Path) -> Iterator[str]:
    """Serves the repositories below *root*; what is below ``closed`` only to who can sign in."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path.startswith("/closed"):
                self.send_response(401)
                self.send_header("www-authenticate", "Basic")
                self.end_headers()
                return
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("content-type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            }
            run = subprocess.run(
                ["git", "http-backend"], input=body, env=environment, stdout=subprocess.PIPE, check=False
            )
            head, _, content = run.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(fields.pop("Status", "200")[:3]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the library calls it so

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
