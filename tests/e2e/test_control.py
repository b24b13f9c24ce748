"""Commands, files and checkouts in a sandbox, as a web app's backend drives them on the deployed stack."""

import os
from http import HTTPStatus
from urllib.parse import urljoin

import httpx

from tests.e2e.repositories import repository
from tests.waiting import eventually


def ask(thread, method, path, **options):
    """Ask for something of the sandbox, again as long as it is still starting."""

    def asked():
        answer = thread.http.request(method, f"/api/sandbox/{thread.name}/{path}", **options)
        return None if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE else answer

    return eventually(asked, seconds=90)


def refusal(answer):
    return answer.status_code, answer.json()["code"]


def test_command_is_run(shared):
    """In a sandbox that is started for it; its streams, its exit code and its time are told."""
    answer = ask(shared, "POST", "exec", json={"command": "cat; id -un >&2; exit 3", "stdin": "hello ä"})
    result = answer.json()

    assert (200, 3, "hello ä") == (answer.status_code, result["exit_code"], result["stdout"])
    assert result["duration_ms"] < 20_000
    assert result["truncated"] is False


def test_command_in_the_background_is_followed_and_killed(shared):
    """What it prints comes as soon as it is asked for; then it is ended with all that it started."""
    order = {"command": "setsid sleep 1000 & echo $!; sleep 1000"}
    begun = ask(shared, "POST", "exec", json=order, headers={"Prefer": "respond-async"})
    exec_id = begun.json()["exec_id"]
    seen = ask(shared, "GET", f"exec/{exec_id}?wait=20").json()
    daemon = int(seen["stdout"])
    lived = ask(shared, "POST", "exec", json={"command": f"kill -0 {daemon}"}).json()
    killed = ask(shared, "DELETE", f"exec/{exec_id}").json()
    lives = ask(shared, "POST", "exec", json={"command": f"kill -0 {daemon}"}).json()

    assert (202, "respond-async") == (begun.status_code, begun.headers["preference-applied"])
    assert ("running", "ended", 137) == (seen["status"], killed["status"], killed["exit_code"])
    assert (0, 1) == (lived["exit_code"], lives["exit_code"])


def test_files_go_and_come(shared):
    """Byte for byte, by the names they have; they are listed, are there for commands, and can be removed."""
    content = bytes(range(256)) * 4096
    name = "some/ä 100%.bin"
    path = "files/some/%C3%A4%20100%25.bin"
    for kind in ("application/octet-stream", "application/x-www-form-urlencoded", "image/png"):
        put = ask(shared, "PUT", path, content=content, headers={"Content-Type": kind})
        assert (200, {"path": name, "size": len(content)}) == (put.status_code, put.json())
    got = ask(shared, "GET", path)
    counted = ask(shared, "POST", "exec", json={"command": "wc -c < 'some/ä 100%.bin'"}).json()
    listed = ask(shared, "GET", "files/some?list").json()
    removed = [ask(shared, "DELETE", path).json()["removed"] for _ in range(2)]

    assert content == got.content
    assert str(len(content)) == counted["stdout"].strip()
    assert [("ä 100%.bin", "file", len(content))] == [(e["name"], e["type"], e["size"]) for e in listed["entries"]]
    assert [True, False] == removed
    assert (404, "no_file") == refusal(ask(shared, "GET", path))


def test_nothing_outside_of_the_workspace_is_reached(shared):
    """Neither upwards nor by a link that the agent made."""
    ask(shared, "POST", "exec", json={"command": "ln -sfn / root; ln -sfn /etc/passwd passwd"})

    assert (409, "path_conflict") == refusal(ask(shared, "GET", "files/root/etc/passwd"))
    assert (409, "path_conflict") == refusal(ask(shared, "GET", "files/passwd"))
    assert (409, "path_conflict") == refusal(ask(shared, "PUT", "files/root/tmp/x", content=b"x"))
    assert (422, "invalid_request") == refusal(ask(shared, "GET", "files/%2E%2E/%2E%2E/etc/passwd"))
    assert (409, "path_conflict") == refusal(ask(shared, "POST", "exec", json={"command": "id", "cwd": "root"}))


def test_large_file_goes_by_presigned_urls(shared):
    """There and back, without the session token where the bytes go."""
    content = os.urandom(12 * 1024 * 1024)
    offered = ask(shared, "PUT", "files/large.bin?presign=1")
    httpx.put(offered.json()["upload_url"], content=content, timeout=60).raise_for_status()
    commit_url = urljoin(str(offered.url), offered.json()["commit_url"])
    committed = shared.http.post(commit_url)
    direct = ask(shared, "GET", "files/large.bin")
    taken = ask(shared, "GET", "files/large.bin?presign=1").json()
    got = httpx.get(taken["download_url"], timeout=60).raise_for_status()

    assert (200, {"path": "large.bin", "size": len(content)}) == (committed.status_code, committed.json())
    assert (413, "too_large") == refusal(direct)
    assert (len(content), True) == (taken["size"], got.content == content)


def test_repository_is_checked_out(shared, tmp_path):
    """At once, and in the background, where the outcome is what the command prints."""
    with repository(tmp_path) as (url, commit):
        answer = ask(shared, "POST", "git/checkout", json={"url": url})
        order = {"url": url, "target_dir": "sub/copy", "ref": "main"}
        begun = ask(shared, "POST", "git/checkout", json=order, headers={"Prefer": "respond-async"}).json()
        state = {"status": "running", "next": "0.0"}
        printed = ""
        while state["status"] == "running":
            state = ask(shared, "GET", f"exec/{begun['exec_id']}?after={state['next']}&wait=20").json()
            printed += state["stdout"]
        missing = ask(shared, "POST", "git/checkout", json={"url": url.replace("project", "other")})

    assert (200, {"commit": commit, "path": "project"}) == (answer.status_code, answer.json())
    assert (0, f'{{"commit": "{commit}", "path": "sub/copy"}}\n') == (state["exit_code"], printed)
    assert b"here it is\n" == ask(shared, "GET", "files/sub/copy/README").content
    assert ((422, "checkout_failed"), "not_found") == (refusal(missing), missing.json()["details"]["reason"])


def test_nobody_else_gets_in(shared, token):
    """A token of another user of this thread opens nothing."""
    stranger = {"Authorization": f"Bearer {token(shared.name, 'bob')}"}
    for method, path in (("POST", "exec"), ("GET", "files/a"), ("PUT", "files/a"), ("GET", "files?list")):
        body = {"command": "id"} if path == "exec" else None
        assert (403, "forbidden") == refusal(ask(shared, method, path, headers=stranger, json=body))
