"""Refreshing a grant: real stores on moto, real sealing, a scripted provider, and a clock that is moved."""

import pytest
from botocore.exceptions import ClientError

from sandbox_ctl.refresher import CLAIM_SECONDS, SPARE_SECONDS, WAIT_SECONDS
from tests.controlling import Controlling
from threadbox.errors import VaultUnavailableError, VaultUnreadableError
from threadbox.sockets import Socket
from threadbox.vault import Sealer

DENIED = ClientError({"Error": {"Code": "AccessDeniedException"}}, "Decrypt")


class KilledError(BaseException):
    """The function died."""


@pytest.fixture
def controlling(table, clock, kms, key_id):
    controlling = Controlling(table, clock, kms=kms, key_id=key_id)
    controlling.sockets.create(Socket(thread_id="t", connection_id="c1", user_id="ann"))
    return controlling


@pytest.fixture
def due(controlling, clock):
    """A grant whose access token has 300 s left."""
    grant = controlling.connects(life=3600)
    clock.time += 3300
    return grant


def renewed(controlling, **options):
    return controlling.refresher.renewed(controlling.grant(), **options)


def kill(*_args, **_named):
    raise KilledError


def killed(controlling, owner, name):
    """Let the function die where it calls that."""
    object.__setattr__(owner, name, kill)
    with pytest.raises(KilledError):
        renewed(controlling)
    object.__delattr__(owner, name)


def told(controlling):
    return ["reconnect_required" for frame in controlling.connections.to("c1") if "reconnect_required" in frame["body"]]


@pytest.mark.parametrize(("life", "margin"), [(3600, 300), (20, 5), (864_000, 300)])
def test_token_is_due_a_quarter_of_its_life_before_its_end(controlling, clock, life, margin):
    """And 300 s at most; until then nobody is asked."""
    controlling.connects(life=life)
    clock.time += life - margin - 1
    assert 0 == renewed(controlling).failures
    assert [] == controlling.provider.redeemed
    clock.time += 1
    renewed(controlling)
    assert ["rt_0"] == controlling.provider.redeemed


def test_new_tokens_are_stored_before_they_are_used(controlling, due, clock):
    """The row has them, sealed, with their expiry and the next version, when the refresh answers."""
    grant = renewed(controlling)

    assert grant == controlling.grant()
    assert (int(clock()) + 3600, int(clock())) == (grant.expires_at, grant.obtained_at)
    assert grant.version > due.version
    assert ("at_1", "rt_1") == controlling.tokens()
    assert (None, False) == (grant.refresh_owner, grant.reconnect_required)


def test_provider_that_keeps_the_refresh_token_keeps_it(controlling, due):
    """RFC 6749 section 6: a new one need not come."""
    issue, controlling.provider.issue = controlling.provider.issue, lambda: None
    renewed(controlling)
    assert ("at_1", "rt_0") == controlling.tokens()
    controlling.provider.issue = issue


def test_token_that_is_not_due_costs_nothing(controlling, kms):
    """No KMS call, no call to the provider, no write."""
    grant = controlling.connects()
    kms.calls.clear()
    assert grant == renewed(controlling)
    assert ([], []) == (kms.calls, controlling.provider.redeemed)


def test_refresh_opens_once_and_makes_one_data_key(controlling, due, kms):
    """Both before the claim: between redeeming and storing KMS is not needed."""
    kms.calls.clear()
    controlling.provider.meanwhile = lambda: setattr(kms, "failure", DENIED)
    assert renewed(controlling).version > due.version
    assert ["Decrypt", "GenerateDataKey"] == kms.calls


@pytest.mark.parametrize("mode", ["429", "500", "garbage", "down"])
def test_provider_that_fails_is_asked_again_later(controlling, due, clock, mode):
    """With backoff, while the access token lives on; the grant is kept, whatever it lasts."""
    controlling.provider.mode = mode
    tries = []
    for _ in range(4):
        grant = renewed(controlling)
        assert grant == renewed(controlling), "not before its time"
        tries.append(grant.retry_at - int(clock()))
        clock.time = grant.retry_at
    assert [1, 2, 4, 8] == tries
    assert (due.version, None, False) == (grant.version, grant.refresh_owner, grant.reconnect_required)
    assert [] == told(controlling)

    controlling.provider.mode = "ok"
    assert renewed(controlling).version > due.version


@pytest.mark.parametrize("code", ["refresh_token_reused", "invalid_grant", "refresh_token_invalidated"])
def test_refusal_of_the_provider_is_its_last_word(controlling, due, code):
    """Told to the sockets, once; the row stays, for the account, and nobody redeems again."""
    controlling.provider.refusal = code
    grant = renewed(controlling)

    assert (True, True, due.account_id) == (grant.reconnect_required, grant.ended, grant.account_id)
    controlling.provider.refusal = None
    assert grant == renewed(controlling)
    assert ([], 1) == (controlling.provider.redeemed, len(told(controlling)))


def test_answer_that_was_lost_shows_as_reused_with_the_next_try(controlling, due, clock):
    """A try after a failure that its holder saw can find no worse than that: then the user reconnects."""
    controlling.provider.mode = "lost"
    grant = renewed(controlling)
    controlling.provider.mode = "ok"
    clock.time = grant.retry_at
    assert renewed(controlling).reconnect_required
    assert 1 == len(told(controlling))


def test_killed_before_the_claim_changes_nothing(controlling, due, kms):
    """Whoever comes next refreshes."""
    for name in ("decrypt", "generate_data_key"):
        killed(controlling, kms, name)
    assert renewed(controlling).version > due.version


@pytest.mark.parametrize("redeemed", [False, True])
def test_killed_between_claim_and_store_is_never_redeemed_again(controlling, due, clock, redeemed):
    """Nobody knows whether the one use was made: after the claim's time the user is asked to reconnect, once."""
    if redeemed:
        controlling.provider.meanwhile = kill
        with pytest.raises(KilledError):
            renewed(controlling)
        controlling.provider.meanwhile = lambda: None
    else:
        controlling.grants.claim(due, owner="dead", seconds=CLAIM_SECONDS)
    uses = len(controlling.provider.redeemed)

    assert not renewed(controlling).reconnect_required, "it may still be alive"
    clock.time += CLAIM_SECONDS
    assert renewed(controlling).reconnect_required
    assert renewed(controlling).reconnect_required
    assert (uses, 1) == (len(controlling.provider.redeemed), len(told(controlling)))
    assert not controlling.grant().ended, "the access token serves to its end"


def test_holder_that_wakes_up_late_brings_what_it_got(controlling, due, clock):
    """It alone redeemed that version, so the user need not reconnect after all."""

    def sleep():
        clock.time += CLAIM_SECONDS + 1
        controlling.provider.meanwhile = lambda: None
        assert renewed(controlling).reconnect_required

    controlling.provider.meanwhile = sleep
    grant = renewed(controlling)
    assert (False, "at_1") == (grant.reconnect_required, controlling.tokens()[0])


@pytest.mark.parametrize("meanwhile", ["reconnected", "disconnected"])
def test_holder_that_wakes_up_after_the_row_changed_changes_nothing(controlling, due, clock, meanwhile):
    """What it got is of no use to anybody: it is revoked, and the newer tokens stay."""

    def sleep():
        clock.time += CLAIM_SECONDS + 1
        if meanwhile == "reconnected":
            controlling.connects(refresh_token="rt_newer")
        else:
            controlling.grants.delete(controlling.grant())

    controlling.provider.meanwhile = sleep
    renewed(controlling)
    assert ["rt_1"] == controlling.provider.revoked
    if meanwhile == "reconnected":
        assert "rt_newer" == controlling.tokens()[1]
    else:
        assert controlling.grants.find("t") is None


def test_turn_waits_for_somebody_elses_refresh_only_when_it_must(controlling, due, clock):
    """With a token that lives on it goes on at once; with one that is nearly over it waits, and takes what comes."""
    claimed = controlling.grants.claim(due, owner="other", seconds=400)
    assert (claimed, []) == (renewed(controlling), controlling.pauses)

    tokens, binding = controlling.lender.open(due)
    sealed = controlling.sealer.seal(tokens, binding.model_copy(update={"expires_at": due.expires_at + 3600}))
    clock.time = due.expires_at - SPARE_SECONDS

    def other_stores(_seconds):
        controlling.grants.refreshed(claimed, sealed, obtained_at=int(clock()), expires_at=due.expires_at + 3600)

    object.__setattr__(controlling.refresher, "pause", other_stores)
    assert due.expires_at + 3600 == renewed(controlling).expires_at


def test_waiting_for_somebody_elses_refresh_is_bounded(controlling, due, clock):
    """Whoever waits in vain goes on with what there is."""
    claimed = controlling.grants.claim(due, owner="other", seconds=400)
    clock.time = due.expires_at
    assert claimed == renewed(controlling)
    assert WAIT_SECONDS == pytest.approx(sum(controlling.pauses), abs=1)


def test_tokens_that_the_models_refuse_are_refreshed_before_their_time(controlling):
    """Whoever says so names the version, so that it is refreshed once."""
    first = controlling.connects()
    second = renewed(controlling, refused=first.version)
    assert second.version > first.version
    assert second == renewed(controlling, refused=first.version)
    assert 1 == len(controlling.provider.redeemed)


def test_vault_that_does_not_open_claims_nothing(controlling, due, kms):
    """So that it can be tried again when it does."""
    kms.failure = DENIED
    with pytest.raises(VaultUnreadableError):
        renewed(controlling)
    assert (None, 1) == (controlling.grant().refresh_owner, len(controlling.unreadable))
    kms.failure = None
    assert renewed(controlling).version > due.version


def test_vault_that_does_not_seal_claims_nothing(controlling, due, kms):
    """A token is not redeemed that could not be kept."""
    kms.meanwhile = lambda: setattr(kms, "failure", DENIED if kms.calls[-1] == "GenerateDataKey" else None)
    with pytest.raises(VaultUnavailableError):
        renewed(controlling)
    assert ([], None) == (controlling.provider.redeemed, controlling.grant().refresh_owner)


def test_row_of_an_older_schema_is_sealed_anew_with_the_next_write(controlling, clock):
    """It opens as it is until then."""
    current = controlling.sealer
    controlling.sealer = Sealer(kms=current.kms, key_id=current.key_id, schema_version=1)
    controlling.connects(life=20)
    assert 1 == controlling.grant().sealed["schema_version"]
    clock.time += 15
    renewed(controlling)
    assert 2 == controlling.grant().sealed["schema_version"]
    assert ("at_1", "rt_1") == controlling.tokens()


def test_nothing_secret_is_logged(controlling, due, caplog):
    """Not in a refresh that goes well, nor in any that does not."""
    with caplog.at_level("INFO"):
        for mode in ("garbage", "500", "down", "lost"):
            controlling.provider.mode = mode
            grant = renewed(controlling)
            controlling.refresher.now.time = max(grant.retry_at, controlling.refresher.now.time)
    assert "refresh" in caplog.text
    assert not {"rt_0", "rt_1", "at_1"} & set(caplog.text.replace("'", " ").replace('"', " ").split())
