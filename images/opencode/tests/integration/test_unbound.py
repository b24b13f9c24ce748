"""sandboxd before it serves a thread, and when it cannot."""

from pathlib import Path

import httpx
import pytest
from harness import API_KEY, NotListeningError, Start


def test_hello_says_who_answers(start: Start) -> None:
    """The control plane compares this before it entrusts anything."""
    with start() as sandboxd:
        hello = sandboxd.call("GET", "/sandboxd/hello").json()

    assert hello["task_arn"] == sandboxd.plane.audience
    assert (hello["state"], hello["thread_id"], hello["generation"]) == ("unbound", None, None)
    assert hello["log"] == {"first": 1, "last": 0}


def test_without_a_token_nothing_answers(start: Start) -> None:
    """Not even the health check, and in the shape of every error."""
    with start() as sandboxd:
        answers = [httpx.get(sandboxd.url + path, trust_env=False) for path in ("/sandboxd/health", "/", "/x")]

    assert {(401, "unauthorized")} == {(answer.status_code, answer.json()["code"]) for answer in answers}


def test_what_needs_a_thread_is_not_ready(start: Start) -> None:
    """Events and OpenCode's own routes."""
    with start() as sandboxd:
        answers = [sandboxd.call("GET", path) for path in ("/sandboxd/events", "/session", "/nonsense")]
        own = sandboxd.call("GET", "/sandboxd/nonsense")

    assert {(503, "not_ready")} == {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert (own.status_code, own.json()["code"]) == (404, "not_found")


def test_a_malformed_bind_is_refused_without_repeating_it(start: Start) -> None:
    """There is a key in it."""
    with start() as sandboxd:
        answers = [
            sandboxd.bind(thread_id="../etc"),
            sandboxd.bind(generation=0),
            sandboxd.bind(model={"base_url": "file:///etc", "name": "demo"}, keys={"default": API_KEY}),
            sandboxd.bind(model={"base_url": API_KEY, "name": ""}, keys={API_KEY: API_KEY}),
        ]

    assert {(422, "invalid_request")} == {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert not any(API_KEY in answer.text for answer in answers)
    assert API_KEY not in sandboxd.log()


def test_bind_for_another_thread_than_the_token_names_is_forbidden(start: Start) -> None:
    """Body and token must tell the same story."""
    with start() as sandboxd:
        answer = sandboxd.bind(thread_id="thread-2")
        state = sandboxd.call("GET", "/sandboxd/hello").json()["state"]

    assert (answer.status_code, answer.json()["code"], state) == (403, "forbidden", "unbound")


def test_nobody_binding_it_ends_it(start: Start) -> None:
    """With a code that says so."""
    with start(unbound_seconds=0.2) as sandboxd:
        assert sandboxd.process.wait(10) == 5


def test_opencode_that_cannot_be_started_ends_it(start: Start) -> None:
    """A boot failure is told by the exit code."""
    with start(opencode="/nowhere/opencode") as sandboxd:
        sandboxd.bind()
        assert sandboxd.process.wait(10) == 3


def test_opencode_that_ends_at_once_ends_it(start: Start) -> None:
    """The same, and what it printed is in the log."""
    with start(opencode="/bin/false") as sandboxd:
        sandboxd.bind()
        assert sandboxd.process.wait(10) == 3


def test_opencode_that_never_listens_ends_it(start: Start, directory: Path) -> None:
    """The wait is bounded, and the child is ended."""
    deaf = directory / "deaf"
    deaf.write_text("#!/bin/sh\nexec sleep 1000\n")
    deaf.chmod(0o755)
    with start(opencode=deaf, boot_seconds=0.5) as sandboxd:
        assert sandboxd.bind().json()["state"] == "booting"
        assert sandboxd.process.wait(10) == 3

    assert "TimeoutError" in sandboxd.log()


def test_unusable_settings_end_it(start: Start) -> None:
    """Before anything listens; the log names the setting."""
    with pytest.raises(NotListeningError) as error, start(unbound_seconds="soon"):
        pass

    assert error.value.exit_status == 2
    assert "unbound_seconds" in error.value.log
