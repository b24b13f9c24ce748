"""What becomes of a grant: the control plane takes the tokens, the sandbox forgets the refresh token."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import Sandboxd, ScriptedModel
from identity_provider import Attempt, IdentityProvider, Lender, credentials, credentials_file, newer_version
from turns import asked, model_of

pytestmark = pytest.mark.facts


@pytest.fixture
def sandboxd(online: Sandboxd, model: ScriptedModel) -> Sandboxd:
    """The sandbox without a sign-in."""
    model.release.clear()
    assert online.call("DELETE", "/sandboxd/providers/openai").status_code == 200
    return online


@pytest.fixture
def approved(sandboxd: Sandboxd, provider: IdentityProvider) -> Attempt:
    attempt = Attempt(sandboxd)
    attempt.begin_when_possible()
    provider.approve(attempt.user_code)
    attempt.follow()
    assert attempt.status() == "approved"
    return attempt


def test_tokens_are_told_until_they_are_accepted(approved: Attempt, sandboxd: Sandboxd) -> None:
    """As often as asked: the caller may have missed an answer. No cache keeps them, and accepted they are gone."""
    first, second = approved.tokens(), approved.tokens()
    state = approved.watch(0)
    accepted = [approved.accept().json()["status"] for _ in range(2)]
    after = approved.tokens()
    tokens = first.json()

    assert first.json() == second.json()
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-store")
    assert tokens.keys() == {"access_token", "refresh_token", "expires_at", "account_id"}
    assert (tokens["account_id"], tokens["expires_at"]) == (state["account_id"], state["expires_at"])
    assert 3500 < tokens["expires_at"] - time.time() <= 3600
    assert accepted == ["accepted"] * 2
    assert (after.status_code, after.json()["code"]) == (409, "conflict")


def test_tokens_are_told_to_nobody_else(approved: Attempt, sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """Not before there is an approval, not after the attempt was called off, not to another attempt or a turn."""
    path = f"/sandboxd/signin/{approved.id}/tokens"
    turn = sandboxd.turn_call("GET", path)
    other = approved.call("GET", "/other/tokens")
    cancelled = approved.cancel().json()["status"]
    after = approved.tokens()
    following = Attempt(sandboxd)
    following.begin_when_possible()
    replaced, before = approved.tokens(), following.tokens()

    assert (turn.status_code, turn.json()["code"]) == (403, "forbidden")
    assert {(404, "no_signin")} == {(answer.status_code, answer.json()["code"]) for answer in (other, replaced)}
    assert cancelled == "cancelled"
    assert {(409, "conflict")} == {(answer.status_code, answer.json()["code"]) for answer in (after, before)}


def test_only_the_placeholder_is_left(approved: Attempt, sandboxd: Sandboxd) -> None:
    """The access token with its real expiry is what the next prompts use; the refresh token is in no file."""
    tokens = approved.tokens().json()
    assert approved.accept().status_code == 200
    turn = asked(sandboxd)
    entry = credentials(sandboxd) or {}
    status = sandboxd.call("GET", "/sandboxd/status").json()
    homes = [path for place in ("home", "workspace") for path in (sandboxd.directory / place).rglob("*")]
    holders = [path for path in homes if path.is_file() and tokens["refresh_token"].encode() in path.read_bytes()]

    assert (entry["access"], entry["refresh"]) == (tokens["access_token"], "held-by-the-control-plane")
    assert (entry["accountId"], entry["expires"] // 1000) == (tokens["account_id"], tokens["expires_at"])
    assert (model_of(turn), status["codex_version"], holders) == ("openai", approved.version, [])
    assert not any(tokens[name] in sandboxd.log() for name in ("access_token", "refresh_token"))


def test_accepting_takes_a_version(approved: Attempt, sandboxd: Sandboxd) -> None:
    """It is what later calls are held against."""
    bodies: list[object] = [None, {}, {"version": 0}, {"version": "x"}]
    refused = [approved.call("POST", f"/{approved.id}/accept", body) for body in bodies]
    accepted = approved.accept()
    tokens = {"access_token": "late", "expires_at": 1, "account_id": None}
    late = sandboxd.call("PUT", "/sandboxd/providers/openai", {**tokens, "version": approved.version})

    assert {(422, "invalid_request")} == {(answer.status_code, answer.json()["code"]) for answer in refused}
    assert (accepted.json()["status"], late.json()) == ("accepted", {"version": approved.version})
    assert (credentials(sandboxd) or {})["access"] != "late"


def test_newer_token_stays_when_an_older_grant_is_accepted(
    approved: Attempt, sandboxd: Sandboxd, provider: IdentityProvider
) -> None:
    """The control plane has renewed it before its word of acceptance came through."""
    renewed, version = provider.grant(), newer_version()
    lender = Lender(sandboxd)
    lender.lend(renewed, version)
    accepted = approved.accept()
    entry = credentials(sandboxd) or {}

    assert (accepted.json()["status"], lender.held()) == ("accepted", version)
    assert (entry["access"], approved.tokens().status_code) == (renewed.access_token, 409)


def test_version_that_was_removed_is_not_accepted(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """Nobody is to believe in a connection that there is not; with a newer version it is accepted yet."""
    attempt = Attempt(sandboxd)
    Lender(sandboxd).take_back(attempt.version)
    attempt.begin_when_possible()
    provider.approve(attempt.user_code)
    attempt.follow()
    assert attempt.status() == "approved"
    refused, entry = attempt.accept(), credentials(sandboxd)
    attempt.version = newer_version()
    accepted = attempt.accept()

    assert (refused.status_code, refused.json()["code"], entry) == (409, "conflict", None)
    assert (accepted.status_code, credentials(sandboxd) is None) == (200, False)


@dataclass
class Sightings:
    """When a file was looked at (monotonic seconds), and whether a refresh token was in it."""

    looks: list[tuple[float, bool]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self, file: Path) -> None:
        while not self._stop.wait(0.001):
            content = b""
            began = time.monotonic()
            with contextlib.suppress(FileNotFoundError):
                content = file.read_bytes()
            self.looks.append((began, b"rt_" in content))

    @contextlib.contextmanager
    def of(self, file: Path) -> Iterator[None]:
        thread = threading.Thread(target=self.watch, args=(file,))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def longest_gap(self) -> float:
        times = [time for time, _ in self.looks]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def seconds(self) -> float:
        """For how long at most it was there: from the last look before it was seen to the first one after that."""
        seen = [number for number, (_, there) in enumerate(self.looks) if there]
        return self.looks[seen[-1] + 1][0] - self.looks[seen[0] - 1][0] if seen else self.longest_gap()


def test_refresh_token_is_in_the_file_for_less_than_a_second(sandboxd: Sandboxd, provider: IdentityProvider) -> None:
    """OpenCode puts it there, and it has to be read there; then it is taken out, and no accepting puts it back."""
    sightings = Sightings()
    with sightings.of(credentials_file(sandboxd)):
        attempt = Attempt(sandboxd)
        attempt.sign_in(provider)
        asked(sandboxd)
    seen = sum(there for _, there in sightings.looks)
    figure = f"{1000 * sightings.seconds():.1f} ms at most, seen {seen} times"
    how = f"the file was read {len(sightings.looks)} times, at most {1000 * sightings.longest_gap():.1f} ms apart"
    print(f"\nlife of the refresh token in auth.json: {figure} ({how})")  # noqa: T201 - the figure is asked for

    assert sightings.seconds() < 1
    assert len(sightings.looks) > 100
