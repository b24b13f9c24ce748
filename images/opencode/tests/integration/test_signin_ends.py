"""Sign-ins in sandboxes of their own: with other settings, as another user, to another end."""

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import NODE_MODULES, Sandboxd, ScriptedModel, Start
from identity_provider import (
    Attempt,
    IdentityProvider,
    Lender,
    credentials,
    credentials_file,
    eventually,
    identity_provider,
)
from turns import asked, errors, model_of, restarts

pytestmark = pytest.mark.facts

AGENT = 61_234


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    """One whose authority the agent's user can read: pytest's own directories are closed to others."""
    with tempfile.TemporaryDirectory(prefix="sandboxd-idp-") as name:
        directory = Path(name)
        directory.chmod(0o755)
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


def test_token_that_has_run_out_fails_the_turn_and_a_newer_one_heals(
    start: Start, model: ScriptedModel, provider: IdentityProvider
) -> None:
    """OpenCode then shows the provider the placeholder, which is good for nothing (measured, opencode 1.18.33)."""
    granted = provider.grant()
    with start(outward=provider.outward, held_seconds=60) as sandboxd:
        sandboxd.bind(model, codex=granted.lent(1, expires_at=1))
        sandboxd.until_ready()
        failed = asked(sandboxd)
        held = Lender(sandboxd).lend(granted, 2)
        healed = asked(sandboxd)

    assert "Token refresh failed" in " ".join(errors(failed))
    assert {entry["outcome"] for entry in provider.refreshes()} == {"invalid_grant"}
    assert (held, model_of(healed), restarts(healed), errors(healed)) == (2, "openai", [], [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_bound_credentials_are_the_agents(start: Start, model: ScriptedModel, provider: IdentityProvider) -> None:
    """So are the directories that were made for them: OpenCode, as another user, works with all of it."""
    if closed := [path for path in NODE_MODULES.parents if not path.stat().st_mode & 0o001]:
        pytest.skip(f"another user cannot reach OpenCode through {closed[0]}")
    with start(outward=provider.outward, agent_uid=AGENT, agent_gid=AGENT, held_seconds=60) as sandboxd:
        sandboxd.bind(model, codex=provider.grant().lent(1))
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        file = credentials_file(sandboxd)
        made = [path.stat() for path in (file, *list(file.parents)[:3])]
        turn = asked(sandboxd)

    assert {(AGENT, AGENT)} == {(status.st_uid, status.st_gid) for status in made}
    assert [status.st_mode & 0o777 for status in made] == [0o600, 0o700, 0o700, 0o700]
    assert (model_of(turn), errors(turn)) == ("openai", [])


def test_other_tool_policy_calls_a_waiting_attempt_off(
    start: Start, model: ScriptedModel, provider: IdentityProvider
) -> None:
    """OpenCode is started anew for it, once, which ends the wait; then the next attempt may begin."""
    with start(outward=provider.outward, held_seconds=60) as sandboxd:
        attempt = Attempt(ready(sandboxd, model))
        attempt.begin()
        attempt.follow()
        eventually(lambda: provider.polls(attempt.user_code))
        told = sandboxd.call("PUT", "/sandboxd/tool-policy", {"policy": "none", "version": 1})
        ended = attempt.status()
        following = Attempt(sandboxd)
        following.begin_when_possible()
        provider.approve(following.user_code)
        following.follow()

        assert (told.status_code, ended) == (200, "cancelled")
        assert following.status() == "approved"
        assert sandboxd.log().count("restarted in") == 1
