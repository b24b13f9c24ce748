"""Access tokens that the control plane lends, with the real OpenCode: before it starts, and as they are renewed."""

import json
from pathlib import Path

import pytest
from harness import Sandboxd, ScriptedModel, Start, turn_of
from identity_provider import Granted, IdentityProvider, Lender, credentials, credentials_file
from turns import asked, errors, model_of, restarts, turn_under_way, until_tool_runs

pytestmark = pytest.mark.facts


@pytest.fixture
def granted(provider: IdentityProvider) -> Granted:
    return provider.grant()


@pytest.fixture
def sandboxd(online: Sandboxd, model: ScriptedModel, lender: Lender, granted: Granted) -> Sandboxd:
    """The sandbox with *granted* lent to it, and OpenCode aware of that."""
    model.release.clear()
    lender.lend(granted)
    asked(online)
    return online


def test_first_prompt_after_boot_uses_what_was_bound(
    start: Start, model: ScriptedModel, provider: IdentityProvider
) -> None:
    """No sign-in and no dispose before it. What lay in the home is not believed; a repeated bind changes nothing."""
    granted, other = provider.grant(), provider.grant("acct-2")
    with start(outward=provider.outward, held_seconds=60) as sandboxd:
        file = credentials_file(sandboxd)
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"openai": other.entry()}))
        unbound = Lender(sandboxd).held()
        bound = sandboxd.bind(model, codex=granted.lent(7))
        repeated = sandboxd.bind(model, codex=other.lent(8))
        status = sandboxd.until_ready()
        asked_before = len(provider.journal("responses"))
        turn = asked(sandboxd)
        log = sandboxd.log()
        entry = credentials(sandboxd)

    assert (unbound, bound.status_code, repeated.status_code) == (None, 200, 200)
    assert (status["state"], status["codex_version"]) == ("ready", 7), log
    assert (model_of(turn), restarts(turn)) == ("openai", [])
    assert set(provider.asked_with(asked_before)) == {granted.grant_id}
    assert entry == {**granted.entry(), "refresh": "held-by-the-control-plane"}
    assert (file.stat().st_mode & 0o777) == 0o600
    assert "eyJ" not in log


def test_bound_without_credentials_there_are_none(
    start: Start, model: ScriptedModel, provider: IdentityProvider
) -> None:
    """Even if some lay in the home."""
    with start(outward=provider.outward) as sandboxd:
        file = credentials_file(sandboxd)
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"openai": provider.grant("acct-2").entry()}))
        sandboxd.bind(model)
        status = sandboxd.until_ready()
        turn = asked(sandboxd)

        assert (status["codex_version"], credentials(sandboxd), model_of(turn)) == (None, None, "default")


def test_credentials_that_cannot_be_written_fail_the_boot(start: Start, directory: Path) -> None:
    """OpenCode is not even started: it would work with something else, or nothing. No token is in the log."""
    home = directory / "home" / ".local" / "share"
    home.mkdir(parents=True)
    (home / "opencode").symlink_to(directory)
    lent = {"access_token": "eyJ-canary", "expires_at": 2_000_000_000, "account_id": None, "version": 1}
    with start() as sandboxd:
        assert sandboxd.bind(codex=lent).status_code == 200
        assert sandboxd.process.wait(10) == 3
        log = sandboxd.log()

    assert "boot failed: OpenCodeError: auth.json cannot be written" in log
    assert "eyJ" not in log
    assert not (directory / "auth.json").exists()


def test_malformed_credentials_are_refused(online: Sandboxd, granted: Granted) -> None:
    """What was sent is not repeated."""
    wrong: list[dict[str, object]] = [
        {"version": 0},
        {"version": None},
        {"version": 2**53},
        {"access_token": ""},
        {"access_token": None},
        {"expires_at": -1},
        {"account_id": ""},
    ]
    path = "/sandboxd/providers/openai"
    answers = [online.call("PUT", path, granted.lent(1, **changes)) for changes in wrong]
    answers += [online.call("DELETE", f"{path}?version={version}") for version in ("0", "x", "")]

    assert {(422, "invalid_request")} == {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert not any(granted.access_token in answer.text for answer in answers)


def test_renewed_token_is_used_within_the_turn(
    sandboxd: Sandboxd, provider: IdentityProvider, lender: Lender, granted: Granted
) -> None:
    """The turn goes on, and its next request to the model has the new token; nothing is cut off."""
    renewed = provider.grant()
    asked_before = len(provider.journal("responses"))
    with sandboxd.events() as lines:
        next(lines)
        sandboxd.prompt("run: until [ -e go-on ]; do sleep 0.05; done; rm go-on", model=None)
        until_tool_runs(lines)
        before = provider.asked_with(asked_before)
        version = lender.lend(renewed)
        (sandboxd.directory / "workspace" / "go-on").touch()
        turn = turn_of(lines)
    after = provider.asked_with(asked_before + len(before))

    assert (set(before), set(after)) == ({granted.grant_id}, {renewed.grant_id})
    assert (errors(turn), restarts(turn), lender.held()) == ([], [], version)


def test_older_versions_change_nothing(
    sandboxd: Sandboxd, provider: IdentityProvider, lender: Lender, granted: Granted
) -> None:
    """Calls may overtake each other; each answers with what is held."""
    version, other = lender.version, provider.grant("acct-2")
    held = [lender.lend(other, late) for late in (version, version - 1, 1)]
    asked_before = len(provider.journal("responses"))
    turn = asked(sandboxd)

    assert (held, lender.held()) == ([version] * 3, version)
    assert (restarts(turn), set(provider.asked_with(asked_before))) == ([], {granted.grant_id})


def test_what_was_removed_does_not_come_back(sandboxd: Sandboxd, lender: Lender, granted: Granted) -> None:
    """By a late call of the version that was removed, or an older one; a newer one connects anew."""
    version = lender.version
    removed = [lender.take_back(version + 1) for _ in range(2)]
    held = [lender.lend(granted, late) for late in (version, version + 1)]
    without, entry = asked(sandboxd), credentials(sandboxd)
    newer = lender.lend(granted)
    again = asked(sandboxd)

    assert (removed, held, entry) == ([True, False], [None, None], None)
    assert (model_of(without), restarts(without)) == ("default", ["provider disconnected"])
    assert (newer, lender.held()) == (version + 2, version + 2)
    assert (model_of(again), restarts(again)) == ("openai", ["provider connected"])


def test_connected_within_a_turn_counts_for_the_next_prompt(
    sandboxd: Sandboxd, model: ScriptedModel, lender: Lender, granted: Granted
) -> None:
    """OpenCode hears of it when it is idle; to go and to come within one turn comes to the same."""
    with turn_under_way(sandboxd, model) as finish:
        removed = lender.take_back(lender.version)
        lender.lend(granted)
        turn = finish()
    following = asked(sandboxd)

    assert removed
    assert (model_of(turn), restarts(turn), errors(turn)) == ("default", [], [])
    assert (model_of(following), restarts(following)) == ("openai", ["provider connected"])


def test_last_call_counts_however_quickly_they_come(sandboxd: Sandboxd, lender: Lender, granted: Granted) -> None:
    """Also those that come while OpenCode learns of an earlier one."""
    answered = []
    for last_is_lent in (False, True, False, True):
        for step in range(4):
            if (step % 2 == 1) is last_is_lent:
                lender.lend(granted)
            else:
                lender.take_back(lender.version)
        turn = asked(sandboxd)
        answered.append((model_of(turn), errors(turn)))

    assert answered == [("default", []), ("openai", [])] * 2
