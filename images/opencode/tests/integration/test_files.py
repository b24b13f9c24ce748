"""Files of the workspace, transfers to and from a bucket, and checkouts."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from git_server import git_server, make_repository
from harness import ControlPlane, Sandboxd, ScriptedModel, running
from second_user import AGENT, open_directory, second_user

CANARY = "canary-91c3"


@pytest.fixture(scope="module")
def sandboxd(model: ScriptedModel) -> Iterator[Sandboxd]:
    settings = {"git_over_http": 1, **second_user()}
    with open_directory() as directory, running(ControlPlane(), directory, **settings) as sandboxd:
        assert sandboxd.bind(model).status_code == 200
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        yield sandboxd
        assert [word for word in ("Traceback", CANARY) if word in sandboxd.log()] == []


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """The address of a repository, and its two commits."""
    root = tmp_path_factory.mktemp("git")
    first, second = make_repository(root / "project.git")
    with git_server(root) as url:
        yield f"{url}/project.git", first, second


def send(sandboxd: Sandboxd, method: str, path: str, content: bytes = b"") -> httpx.Response:
    """A control call whose body is *content* as it is."""
    token = sandboxd.plane.control(method, path, content)
    return sandboxd.client.request(method, path, content=content, headers={"authorization": f"Bearer {token}"})


def put(sandboxd: Sandboxd, path: str, content: bytes) -> httpx.Response:
    return send(sandboxd, "PUT", f"/sandboxd/files/{quote(path)}", content)


def get(sandboxd: Sandboxd, path: str, query: str = "") -> httpx.Response:
    return send(sandboxd, "GET", f"/sandboxd/files/{quote(path)}{query}")


def outcome(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def checkout(sandboxd: Sandboxd, **order: object) -> httpx.Response:
    return sandboxd.call("POST", "/sandboxd/git/checkout", order)


def test_bytes_come_back_as_they_went(sandboxd: Sandboxd) -> None:
    """All of them, in a file of the agent's, below a directory made for it; a second time they are replaced."""
    content = bytes(range(256)) * 8192
    for sent in (b"before", content, b""):
        stored = put(sandboxd, "new/ä b%.bin", sent)
        assert (stored.status_code, stored.json()) == (200, {"path": "new/ä b%.bin", "size": len(sent)})
        found = get(sandboxd, "new/ä b%.bin")
        assert (found.content, found.headers["content-type"]) == (sent, "application/octet-stream")

    folder = sandboxd.directory / "workspace" / "new"
    assert [path.name for path in folder.iterdir()] == ["ä b%.bin"]
    assert {path.stat().st_uid for path in (folder, folder / "ä b%.bin")} == {
        second_user().get("agent_uid", 0) or os.geteuid()
    }


def test_directory_is_listed(sandboxd: Sandboxd) -> None:
    """By name, links as links."""
    for name in ("list/b", "list/a", "list/sub/c"):
        put(sandboxd, name, b"123")
    (sandboxd.directory / "workspace" / "list" / "link").symlink_to("/etc/passwd")
    listing = send(sandboxd, "GET", "/sandboxd/list/list").json()

    assert (listing["path"], listing["truncated"]) == ("list", False)
    assert [(entry["name"], entry["type"]) for entry in listing["entries"]] == [
        ("a", "file"),
        ("b", "file"),
        ("link", "symlink"),
        ("sub", "directory"),
    ]
    assert listing["entries"][0]["size"] == 3
    assert outcome(send(sandboxd, "GET", "/sandboxd/list/missing")) == (404, "no_file")


def test_what_is_removed_is_gone(sandboxd: Sandboxd) -> None:
    """A directory that is not empty only if that is meant."""
    put(sandboxd, "gone/file", b"1")
    refused = send(sandboxd, "DELETE", "/sandboxd/files/gone")
    removed = [send(sandboxd, "DELETE", "/sandboxd/files/gone?recursive=true").json() for _ in range(2)]

    assert outcome(refused) == (409, "path_conflict")
    assert removed == [{"removed": True}, {"removed": False}]
    assert outcome(get(sandboxd, "gone/file")) == (404, "no_file")


def test_no_path_leads_out(sandboxd: Sandboxd) -> None:
    """Not upwards in any spelling, not by a link; nothing of it is written."""
    outside = sandboxd.directory / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    (outside / "file").write_text("secret")
    (sandboxd.directory / "workspace" / "out").symlink_to(outside)
    (sandboxd.directory / "workspace" / "direct").symlink_to(outside / "file")
    wrong = ["../outside/file", "%2e%2e/outside/file", "a/../../outside/file", "/etc/passwd", "a%00b", "./a", "a//b"]
    for path in wrong:
        answers = [
            send(sandboxd, method, f"/sandboxd/files/{path}", b"x" * (method == "PUT")) for method in ("GET", "PUT")
        ]
        assert {answer.status_code for answer in answers} <= {403, 404, 422}, path
    for path in ("out/file", "direct", "out"):
        assert outcome(put(sandboxd, path, b"x")) == (409, "path_conflict")
        assert outcome(get(sandboxd, path)) == (409, "path_conflict")

    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "secret"


@pytest.mark.skipif(not second_user(), reason="there is no second user")
def test_files_are_the_agents_to_give(sandboxd: Sandboxd) -> None:
    """What it cannot read or write is not read or written for whoever asks, root or not."""
    workspace = sandboxd.directory / "workspace"
    (workspace / "roots").write_text("secret")
    (workspace / "roots").chmod(0o600)
    (workspace / "closed").mkdir(mode=0o755)

    assert outcome(get(sandboxd, "roots")) == (409, "path_conflict")
    assert outcome(put(sandboxd, "closed/file", b"x")) == (409, "path_conflict")
    assert workspace.stat().st_uid == AGENT


def test_file_that_is_too_large_is_not_sent(sandboxd: Sandboxd) -> None:
    """Nor is one taken that does not fit into a call."""
    put(sandboxd, "large", b"x" * 1000)

    assert outcome(get(sandboxd, "large", "?limit=999")) == (413, "too_large")
    assert get(sandboxd, "large", "?limit=1000").status_code == 200
    assert put(sandboxd, "large", b"x" * (8 * 1024 * 1024 + 1)).status_code == 413


class Bucket:
    """What was put into it, by its path."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.declared = 0


@contextmanager
def bucket() -> Iterator[tuple[Bucket, str]]:
    held = Bucket()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            held.files[self.path] = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(403 if "refuse" in self.path else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            content = held.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("content-length", str(len(content or b"") + held.declared))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield held, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_large_file_goes_by_a_bucket(sandboxd: Sandboxd) -> None:
    """There and back, whole; and it is not whole before it is there."""
    content = os.urandom(20_000_000)
    order: dict[str, Any] = {"limit": 10**9}
    with bucket() as (held, url):
        held.files["/in"] = content
        taken = sandboxd.call("POST", "/sandboxd/transfers/in", {**order, "path": "t/file", "url": f"{url}/in"})
        sent = sandboxd.call(
            "POST", "/sandboxd/transfers/out", {**order, "path": "t/file", "url": f"{url}/out?{CANARY}"}
        )
        held.declared = 1
        cut = sandboxd.call("POST", "/sandboxd/transfers/in", {**order, "path": "t/file", "url": f"{url}/in?{CANARY}"})

        assert [answer.json() for answer in (taken, sent)] == [{"path": "t/file", "size": len(content)}] * 2
        assert held.files[f"/out?{CANARY}"] == content
        assert outcome(cut) in ((404, "no_file"), (502, "transfer_failed"))
    folder = sandboxd.directory / "workspace" / "t"
    assert ([path.name for path in folder.iterdir()], (folder / "file").read_bytes() == content) == (["file"], True)


def test_transfer_that_fails_says_why(sandboxd: Sandboxd) -> None:
    """And nothing of where it should have gone to."""
    put(sandboxd, "small", b"12345")
    with bucket() as (held, url):
        held.files["/big"] = b"x" * 1000
        cases = {
            ("out", "small", f"{url}/refuse?{CANARY}"): (502, "transfer_failed"),
            ("out", "small", f"http://127.0.0.1:9/?{CANARY}"): (502, "transfer_failed"),
            ("out", "small", f"nonsense:{CANARY}"): (502, "transfer_failed"),
            ("out", "missing", f"{url}/x"): (404, "no_file"),
            ("in", "small", f"{url}/none"): (404, "no_file"),
            ("in", "small", f"{url}/big"): (413, "too_large"),
        }
        for (way, path, address), expected in cases.items():
            answer = sandboxd.call("POST", f"/sandboxd/transfers/{way}", {"path": path, "url": address, "limit": 999})
            assert outcome(answer) == expected, (way, path)
            assert CANARY not in answer.text
    assert get(sandboxd, "small").content == b"12345"


def test_repository_is_checked_out(sandboxd: Sandboxd, repositories: tuple[str, str, str]) -> None:
    """Its branch, another one, a commit, shallow or not, where it was asked for; as the agent."""
    url, first, second = repositories
    workspace = sandboxd.directory / "workspace"
    orders: list[tuple[dict[str, object], str, str]] = [
        ({}, "project", second),
        ({"ref": "other", "target_dir": "deep/er/other"}, "deep/er/other", first),
        ({"ref": first, "target_dir": "exact", "depth": 1}, "exact", first),
        ({"ref": "main", "target_dir": "shallow", "depth": 1}, "shallow", second),
    ]
    for order, path, commit in orders:
        answer = checkout(sandboxd, url=url, **order)
        assert (answer.status_code, answer.json()) == (200, {"commit": commit, "path": path}), sandboxd.log()
        assert (workspace / path / "file").read_text() == ("first" if commit == first else "second")

    assert (workspace / "shallow" / ".git" / "shallow").exists()
    assert list((workspace / "project" / ".git" / "hooks").glob("*")) == []
    assert (workspace / "project" / "file").stat().st_uid == second_user().get("agent_uid", os.geteuid())
    assert outcome(checkout(sandboxd, url=url)) == (409, "path_conflict")


def test_checkout_that_fails_says_why_and_leaves_nothing(
    sandboxd: Sandboxd, repositories: tuple[str, str, str]
) -> None:
    """In one word; nothing of what git said."""
    url, _, second = repositories
    base = url.rpartition("/")[0]
    workspace = sandboxd.directory / "workspace"
    (workspace / "empty").mkdir()
    before = {path.name for path in workspace.iterdir()}
    cases: list[tuple[dict[str, object], str]] = [
        ({"url": f"{base}/none.git"}, "not_found"),
        ({"url": f"{base}/closed.git"}, "access_denied"),
        ({"url": url, "ref": "no-such-branch", "target_dir": "no"}, "ref_not_found"),
        ({"url": url, "ref": "0" * 40, "target_dir": "empty"}, "ref_not_found"),
        ({"url": "http://127.0.0.1:9/x.git"}, "unreachable"),
    ]
    for order, reason in cases:
        answer = checkout(sandboxd, **order)
        assert (outcome(answer), answer.json()["reason"]) == ((422, "checkout_failed"), reason), order
    after = {path.name for path in workspace.iterdir()}
    answer = checkout(sandboxd, url=url, target_dir="empty")

    assert after == before
    assert (answer.status_code, answer.json()) == (200, {"commit": second, "path": "empty"})


@pytest.mark.parametrize(
    "order",
    [
        {"url": "file:///etc"},
        {"url": "ssh://git@example.com/x.git"},
        {"url": "git@example.com:x.git"},
        {"url": "ext::sh -c true"},
        {"url": "http://example.com/x.git"},
        {"url": "--upload-pack=touch%20x"},
        {"url": f"https://user:{CANARY}@example.com/x.git"},
        {"url": "https://example.com/x.git", "ref": "--upload-pack=x"},
        {"url": "https://example.com/x.git", "target_dir": "../x"},
        {"url": "https://example.com/x.git\n"},
        {"url": "https://example.com/"},
        {"url": "https://example.com/x.git", "depth": 0},
    ],
    ids=str,
)
def test_checkout_that_may_not_be_is_refused(sandboxd: Sandboxd, order: dict[str, object]) -> None:
    """What stands in the address is not said again."""
    answer = checkout(sandboxd, **order)

    assert outcome(answer) == (422, "invalid_request")
    assert CANARY not in answer.text


def test_no_configuration_of_the_agents_counts(sandboxd: Sandboxd, repositories: tuple[str, str, str]) -> None:
    """Neither its hooks nor the addresses that it would have instead."""
    url, _, second = repositories
    home = sandboxd.directory / "home"
    (home / "hooks").mkdir()
    (home / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {home}/hooked\n")
    (home / "hooks" / "post-checkout").chmod(0o755)
    (home / ".gitconfig").write_text(f'[core]\nhooksPath = {home}/hooks\n[url "/"]\ninsteadOf = http://\n')
    answer = checkout(sandboxd, url=url, target_dir="plain")
    (home / ".gitconfig").unlink()

    assert (answer.status_code, answer.json()["commit"]) == (200, second)
    assert not (home / "hooked").exists()


def test_checkout_in_the_background_is_a_command(sandboxd: Sandboxd, repositories: tuple[str, str, str]) -> None:
    """What it prints in the end is what it would have answered; killed, it leaves nothing."""
    url, _, second = repositories
    begun = checkout(sandboxd, url=url, target_dir="later", exec_id="checkout")
    state: dict[str, Any] = {"status": "running", "next": "0.0"}
    printed = ""
    while state["status"] == "running":
        state = sandboxd.call("GET", f"/sandboxd/exec/checkout?after={state['next']}&wait=10").json()
        printed += state["stdout"]

    assert (begun.status_code, state["exit_code"]) == (202, 0)
    assert printed == f'{{"commit": "{second}", "path": "later"}}\n'


def test_a_path_that_git_would_take_for_an_option_is_a_path(
    sandboxd: Sandboxd, repositories: tuple[str, str, str]
) -> None:
    """And one with characters that mean something to a shell."""
    url, _, _ = repositories
    for name in ("--help", "-x", "a b;touch $(id)'\""):
        answer = checkout(sandboxd, url=url, target_dir=name)
        assert (answer.status_code, answer.json()["path"]) == (200, name)
        listed = subprocess.run(
            ["ls", "--", name], cwd=sandboxd.directory / "workspace", capture_output=True, check=True
        )
        assert listed.stdout == b"file\n"
    assert Path(sandboxd.directory, "workspace", "--help", "file").exists()
