"""What the agent makes of auth.json, which is its own file: it does not count."""

import json

import pytest
from harness import Sandboxd, ScriptedModel
from identity_provider import Attempt, Granted, IdentityProvider, Lender, credentials, credentials_file, eventually
from turns import asked, errors, model_of, restarts

AUTH = "~/.local/share/opencode/auth.json"
TAMPERING = {
    "empties it": f": > {AUTH}",
    "writes half of it": f"head -c 20 {AUTH} > half; cat half > {AUTH}",
    "deletes it": f"rm {AUTH}",
    "closes it": f"chmod 000 {AUTH}",
    "changes the token": f"sed -i s/eyJ/eyK/ {AUTH}",
    "replaces it": f"cat foreign.json > {AUTH}",
    "puts a link in its place": f"ln -sf $PWD/foreign.json {AUTH}",
    "puts a directory in its place": f"rm {AUTH}; mkdir {AUTH}",
}


@pytest.fixture(scope="module")
def foreign(provider: IdentityProvider) -> Granted:
    """Of somebody whom the agent would like to be asked in the name of."""
    return provider.grant("acct-foreign")


@pytest.fixture
def sandboxd(
    online: Sandboxd, model: ScriptedModel, provider: IdentityProvider, lender: Lender, foreign: Granted
) -> Sandboxd:
    """The sandbox with a token lent to it, OpenCode aware of that, and what the agent needs in its workspace."""
    model.release.clear()
    (online.directory / "workspace" / "foreign.json").write_text(json.dumps({"openai": foreign.entry()}))
    lender.lend(provider.grant())
    asked(online)
    return online


def tamper(sandboxd: Sandboxd, script: str) -> None:
    """Have the agent run it, in a turn with the configured model."""
    (sandboxd.directory / "workspace" / "tamper.sh").write_text(script)
    turn = asked(sandboxd, "run sh ./tamper.sh", model="default/demo")
    assert (model_of(turn), errors(turn)) == ("default", [])


@pytest.mark.parametrize("script", TAMPERING.values(), ids=TAMPERING)
def test_prompt_after_it_works(
    sandboxd: Sandboxd, provider: IdentityProvider, lender: Lender, foreign: Granted, script: str
) -> None:
    """With what was lent, and nothing had to be restarted; where a link led nothing was written."""
    before, asked_before = credentials(sandboxd), len(provider.journal("responses"))
    tamper(sandboxd, script)
    turn = asked(sandboxd)
    elsewhere = json.loads((sandboxd.directory / "workspace" / "foreign.json").read_text())

    assert (model_of(turn), errors(turn), restarts(turn)) == ("openai", [], [])
    assert foreign.grant_id not in provider.asked_with(asked_before)
    assert (credentials(sandboxd), lender.held()) == (before, lender.version)
    assert elsewhere == {"openai": foreign.entry()}
    assert not credentials_file(sandboxd).is_symlink()


def test_it_is_put_back_without_a_prompt(sandboxd: Sandboxd) -> None:
    """Within seconds: a turn that goes on for long is asked on with what was lent."""
    before = credentials(sandboxd)
    tamper(sandboxd, TAMPERING["replaces it"])

    eventually(lambda: credentials(sandboxd) == before, seconds=10)


def test_nobody_becomes_connected_by_it(sandboxd: Sandboxd, lender: Lender) -> None:
    """Credentials that nobody lent are as good as none; and none were removed then."""
    lender.take_back(lender.version)
    asked(sandboxd)
    tamper(sandboxd, TAMPERING["replaces it"])
    removed = lender.take_back(lender.version)
    turn = asked(sandboxd)

    assert (removed, lender.held(), credentials(sandboxd)) == (False, None, None)
    assert (model_of(turn), restarts(turn)) == ("default", [])


def test_during_an_attempt_only_the_approval_counts(
    sandboxd: Sandboxd, provider: IdentityProvider, lender: Lender, foreign: Granted
) -> None:
    """A foreign account is in the file all the time; who has approved is the one that is reported."""
    before = credentials(sandboxd)
    attempt = Attempt(sandboxd, version=lender.version + 1)
    attempt.begin_when_possible()
    attempt.follow()
    eventually(lambda: provider.polls(attempt.user_code))
    credentials_file(sandboxd).write_text(json.dumps({"openai": foreign.entry()}))
    pending = attempt.watch(0)
    early = attempt.tokens()
    provider.approve(attempt.user_code)
    approved = attempt.watch()
    tokens = attempt.tokens().json()

    assert (pending["status"], pending["account_id"], early.status_code) == ("pending", None, 409)
    assert (approved["status"], approved["account_id"]) == ("approved", "acct-1")
    assert tokens["account_id"] == "acct-1"
    assert foreign.refresh_token != tokens["refresh_token"]
    assert (credentials(sandboxd), attempt.cancel().json()["status"]) == (before, "cancelled")


def test_called_off_attempt_leaves_nothing_of_it(
    sandboxd: Sandboxd, provider: IdentityProvider, lender: Lender, foreign: Granted
) -> None:
    """What was written while it was waited for is put back when nobody waits any more."""
    before = credentials(sandboxd)
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    attempt.follow()
    eventually(lambda: provider.polls(attempt.user_code))
    credentials_file(sandboxd).write_text(json.dumps({"openai": foreign.entry()}))
    cancelled = attempt.cancel().json()
    asked_before = len(provider.journal("responses"))
    turn = asked(sandboxd)

    assert (cancelled["status"], cancelled["account_id"]) == ("cancelled", None)
    assert (model_of(turn), credentials(sandboxd), lender.held()) == ("openai", before, lender.version)
    assert foreign.grant_id not in provider.asked_with(asked_before)


def test_prompt_is_refused_where_it_cannot_be_put_back(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """It could be answered in a foreign name. The file's directory is not where it was, so nothing is written there."""
    data = credentials_file(sandboxd).parent
    moved = data.with_name("moved")
    session = sandboxd.call("GET", "/sandboxd/status").json()["session_id"]
    data.rename(moved)
    data.symlink_to(moved)
    try:
        body = {"parts": [{"type": "text", "text": "hi"}]}
        refused = sandboxd.turn_call("POST", f"/session/{session}/prompt_async", body)
    finally:
        data.unlink()
        moved.rename(data)
    turn = asked(sandboxd)

    assert (refused.status_code, refused.json()["code"]) == (502, "opencode_error")
    assert (model_of(turn), errors(turn)) == ("openai", [])
