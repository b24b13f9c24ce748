"""Sign-ins in sandboxes of their own: other settings, other users, another end."""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from harness import NODE_MODULES, Sandboxd, ScriptedModel, Start
from identity_provider import Attempt, IdentityProvider, credentials, credentials_file, eventually, identity_provider

AGENT = 61_234


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    """One whose authority the agent's user can read."""
    directory = tmp_path_factory.mktemp("idp")
    for path in (directory, directory.parent, directory.parent.parent):
        path.chmod(0o755)
    with identity_provider(directory, "--account", "acct-1") as provider:
        yield provider


def ready(sandboxd: Sandboxd, model: ScriptedModel) -> Sandboxd:
    assert sandboxd.bind(model).status_code == 200
    assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
    return sandboxd


def test_provider_that_does_not_answer_is_given_up(
    start: Start, model: ScriptedModel, provider: IdentityProvider
) -> None:
    """Its late answer must not become the next attempt's code: OpenCode is restarted before that may begin."""
    with start(outward=provider.outward, authorize_seconds=0.5, shared_network=True, held_seconds=60) as sandboxd:
        ready(sandboxd, model)
        browser = Attempt(sandboxd, method=0).begin()
        attempt = Attempt(sandboxd)
        with provider.fault("usercode", "slow", seconds=2, times=1):
            silent = attempt.begin()
            refused = attempt.begin()
        attempt.begin_when_possible()
        provider.approve(attempt.user_code)
        attempt.follow()

        assert (browser.status_code, browser.json()["code"]) == (409, "method_unavailable")
        assert (silent.status_code, silent.json()["code"]) == (502, "provider_unreachable")
        assert (refused.status_code, refused.json()["code"]) == (409, "signin_ending")
        assert attempt.status() == "approved"


def test_malformed_attempts_are_refused(start: Start, model: ScriptedModel) -> None:
    """Before anything is asked of OpenCode; what was sent is not repeated."""
    begin: list[dict[str, object]] = [
        {"attempt_id": "a/b", "method": 1, "seconds": 60},
        {"attempt_id": "a", "method": 7, "seconds": 60},
        {"attempt_id": "a", "method": 1, "seconds": 901},
        {"attempt_id": "a", "method": 0, "seconds": 291},
        {"attempt_id": "a", "method": 1, "seconds": 0},
        {},
    ]
    with start() as sandboxd:
        attempt = Attempt(sandboxd)
        unbound = attempt.begin()
        ready(sandboxd, model)
        answers = [attempt.call("POST", "", body) for body in begin]
        answers += [attempt.call("GET", f"/{attempt.id}?wait=51")]
        answers += [attempt.call("POST", f"/{attempt.id}/redirect", {"code": "canary"})]
        unknown = [
            attempt.call("GET", "/other"),
            attempt.call("DELETE", "/other"),
            attempt.call("POST", "/other/callback"),
            attempt.call("POST", "/other/accept"),
            attempt.call("POST", "/other/redirect", {"code": "c", "state": "s"}),
        ]

    assert unbound.status_code == 403
    assert {(422, "invalid_request")} == {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert not any("canary" in answer.text for answer in answers)
    assert {(404, "no_signin")} == {(answer.status_code, answer.json()["code"]) for answer in unknown}


def test_stop_while_an_attempt_waits(start: Start, model: ScriptedModel, provider: IdentityProvider) -> None:
    """The watcher's body ends without a last line, sandboxd ends at once, and so does the poll."""
    with start(outward=provider.outward, heartbeat_seconds=0.1) as sandboxd:
        attempt = Attempt(ready(sandboxd, model))
        attempt.begin()
        attempt.follow()
        eventually(lambda: provider.polls(attempt.user_code))
        headers = {"authorization": f"Bearer {sandboxd.plane.signin()}"}
        path = f"/sandboxd/signin/{attempt.id}?wait=50"
        with sandboxd.client.stream("GET", path, headers=headers) as response:
            lines = response.iter_lines()
            first = [json.loads(next(lines)) for _ in range(2)]
            sandboxd.process.send_signal(signal.SIGTERM)
            rest = [json.loads(line)["type"] for line in lines]
        assert sandboxd.process.wait(10) == 0

    assert first == [{"type": "heartbeat"}] * 2
    assert set(rest) <= {"heartbeat"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_file_stays_the_agents(start: Start, model: ScriptedModel, provider: IdentityProvider) -> None:
    """Root writes it; OpenCode, as another user, reads it and writes on."""
    if closed := [path for path in NODE_MODULES.parents if not path.stat().st_mode & 0o001]:
        pytest.skip(f"another user cannot reach OpenCode through {closed[0]}")
    with start(outward=provider.outward, agent_uid=AGENT, agent_gid=AGENT, held_seconds=60) as sandboxd:
        Attempt(ready(sandboxd, model)).sign_in(provider)
        status = credentials_file(sandboxd).stat()
        attempt = Attempt(sandboxd)
        attempt.sign_in(provider, account_id="acct-2")

        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (AGENT, AGENT, 0o600)
        assert (credentials(sandboxd) or {})["accountId"] == "acct-2"


def test_browser_sign_in(start: Start, model: ScriptedModel, provider: IdentityProvider) -> None:
    """The redirect is relayed inside; a wrong state ends the attempt, and cancelling it closes the listener."""
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", 1455)) == 0:
            pytest.skip("another listener is on OpenCode's port")
    with start(outward=provider.outward, held_seconds=60) as sandboxd:
        ready(sandboxd, model)
        attempts = [Attempt(sandboxd, method=0) for _ in range(3)]
        urls = []
        for attempt in attempts:
            attempt.begin_when_possible()
            urls.append(attempt.begin().json()["url"])
            attempt.follow()
            if attempt is attempts[0]:
                cancelled = attempt.cancel().json()["status"]
            elif attempt is attempts[1]:
                wrong = attempt.call("POST", f"/{attempt.id}/redirect", {"code": "canary-code", "state": "wrong"})
                failed = attempt.status()
        asked = {name: values[0] for name, values in parse_qs(urlsplit(urls[-1]).query).items()}
        back = provider.client.post("/oauth/authorize/approve", data=asked).headers["location"]
        came_back = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        relayed = attempts[-1].call("POST", f"/{attempts[-1].id}/redirect", came_back)
        approved = attempts[-1].watch()
        again = attempts[-1].call("POST", f"/{attempts[-1].id}/redirect", came_back)
        log = sandboxd.log()

    assert (cancelled, wrong.status_code, wrong.json()["code"], failed) == (
        "cancelled",
        502,
        "opencode_error",
        "failed",
    )
    assert (relayed.status_code, approved["status"], approved["account_id"]) == (200, "approved", "acct-1")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert not any(secret in log for secret in ("canary-code", came_back["code"]))
