"""The row of a thread's sign-in, on moto: each transition is one conditional write."""

import pytest

from oauth_proxy.openai import Method
from oauth_proxy.signin import Status
from tests.unit.signing_in import THREAD, SigningIn
from threadbox.errors import ConflictError, ForbiddenError, RateLimitedError
from threadbox.grants import Grant
from threadbox.vault import Sealed

pytestmark = pytest.mark.moto


@pytest.fixture
def signing_in(aws, table, clock):
    return SigningIn(table, clock)


@pytest.fixture
def store(signing_in):
    return signing_in.signins


@pytest.fixture
def live(signing_in, store):
    return store.begin(signing_in.wanted("a"))


SEALED = Sealed(schema_version=2, key_id="key", data_key=b"k", nonce=b"n", ciphertext=b"c")


def connect(store, signin, account="acct-1", *, before=None):
    version = store.grants.next_version(before)
    grant = Grant(thread_id=THREAD, account_id=account, expires_at=2_000_000_000, obtained_at=1, version=version)
    return store.connect(signin, grant, SEALED, before=before)


def test_live_attempt_is_returned_to_whoever_begins_another(signing_in, store, live):
    """Two tabs have one attempt between them, and that it may replace the account holds for both."""
    again = store.begin(signing_in.wanted("b", replace=True))

    assert ("a", True) == (again.attempt_id, again.replace)
    assert ["a"] == [store.find(THREAD).attempt_id]


def test_somebody_elses_live_attempt_is_not_joined(signing_in, store, live):
    """An attempt is bound to its user."""
    with pytest.raises(ForbiddenError):
        store.begin(signing_in.wanted("b", user_id="bob"))


@pytest.mark.parametrize("other", [{"method": Method.BROWSER}, {"generation": 2}])
def test_another_method_or_sandbox_takes_the_place(signing_in, store, live, other):
    """The attempt before is superseded, which is still known of it."""
    begun = store.begin(signing_in.wanted("b", **other))

    assert (Status.PENDING, Status.SUPERSEDED) == (begun.status_of("b", signing_in.clock()), begun.status_of("a", 0))
    assert begun.status_of("older", 0) is None
    assert store.end(THREAD, "a", Status.DENIED) is None
    assert "b" == store.find(THREAD).attempt_id


def test_what_was_begun_meanwhile_is_not_overwritten(signing_in, store, live):
    """Who loses the race for the place of an ended attempt finds the winner's."""
    store.end(THREAD, "a", Status.DENIED)
    stale = store.find(THREAD)
    store.begin(signing_in.wanted("winner"))

    assert store._begin(signing_in.wanted("loser"), stale) is None
    assert "winner" == store.begin(signing_in.wanted("loser")).attempt_id


def test_attempt_ends_once(store, live):
    """The first end stays."""
    assert store.end(THREAD, "a", Status.DENIED).status == Status.DENIED
    assert store.end(THREAD, "a", Status.CANCELLED) is None
    assert connect(store, live) is None
    assert store.grants.find(THREAD) is None


def test_pending_past_its_deadline_has_timed_out(signing_in, store, live):
    """For every reader, whether that was written or not; a late approval connects nothing, and there is a way on."""
    signing_in.clock.time += 900

    assert Status.TIMED_OUT == store.find(THREAD).status_at(signing_in.clock())
    assert connect(store, live) is None
    assert store.end(THREAD, "a", Status.CANCELLED) is None
    assert store.begin(signing_in.wanted("b")).previous_status == Status.TIMED_OUT


def test_late_end_may_be_written(signing_in, store, live):
    """Who sees the deadline pass writes it."""
    signing_in.clock.time += 901
    assert store.end(THREAD, "a", Status.TIMED_OUT).status == Status.TIMED_OUT


def test_connecting_stores_the_grant_with_the_end(store, live):
    """Both or neither; repeated, it changes nothing."""
    ended = connect(store, live)
    assert connect(store, live) is None

    stored = store.grants.find(THREAD)
    assert (Status.CONNECTED, stored.version) == (ended.status, ended.grant_version)
    assert ("acct-1", SEALED) == (stored.account_id, Sealed.model_validate(stored.sealed))


def test_grant_that_changed_since_it_was_looked_at_is_not_overwritten(signing_in, store, live):
    """A refresh in the same moment has newer tokens; whoever connects looks again."""
    connect(store, live)
    before = store.grants.find(THREAD)
    again = store.begin(signing_in.wanted("b"))
    store.table.update_item(Key={"thread_id": THREAD, "sk": "GRANT#openai"}, UpdateExpression="ADD version :one",
                            ExpressionAttributeValues={":one": 1})  # fmt: skip

    with pytest.raises(ConflictError):
        connect(store, again, before=before)
    assert Status.PENDING == store.find(THREAD).status
    assert connect(store, again, before=store.grants.find(THREAD)).status == Status.CONNECTED


def test_deleted_thread_stays_deleted(table, store, live):
    """No write of a late step or watcher brings a row back."""
    table.delete_item(Key={"thread_id": THREAD, "sk": "SIGNIN"})

    assert connect(store, live) is None
    assert store.end(THREAD, "a", Status.FAILED) is None
    assert store.watched(live) is None
    assert store.take_place(live, watcher="?-00000000", seconds=25) is None
    assert [] == table.scan()["Items"]


def test_five_attempts_an_hour(signing_in, store):
    """The sixth is told when it may come; an hour after the first there is room again."""
    for n in range(5):
        signing_in.clock.time += 60
        store.begin(signing_in.wanted(f"a{n}"))
        store.end(THREAD, f"a{n}", Status.CANCELLED)
    with pytest.raises(RateLimitedError) as refused:
        store.begin(signing_in.wanted("b"))
    assert 3600 - 4 * 60 == refused.value.retry_after

    signing_in.clock.time += refused.value.retry_after
    assert "b" == store.begin(signing_in.wanted("b")).attempt_id


def test_three_calls_wait_at_a_time(signing_in, store, live):
    """The fourth gets no place, until one of them leaves or its time is over; a hop keeps its own."""
    places = [store.take_place(live, watcher=f"?-0000000{n}", seconds=25) for n in range(3)]
    assert ["0-00000000", "1-00000001", "2-00000002"] == places
    assert store.take_place(live, watcher="?-00000003", seconds=25) is None
    assert "1-00000001" == store.take_place(live, watcher="1-00000001", seconds=25)

    store.leave_place(live, "1-00000001")
    assert "1-00000003" == store.take_place(live, watcher="?-00000003", seconds=25)
    signing_in.clock.time += 31
    assert "0-00000004" == store.take_place(live, watcher="?-00000004", seconds=25)


def test_state_is_good_once_and_for_its_attempt(signing_in, store):
    """Replayed, of another attempt, or after the deadline it is nothing."""
    browser = store.begin(signing_in.wanted("a", method=Method.BROWSER))
    store.started(browser, url="https://x/", instructions="", state="s1")

    assert not store.spend_state(browser, "s2")
    assert store.spend_state(browser, "s1")
    assert not store.spend_state(browser, "s1")
    assert store.started(browser, url="https://x/", instructions="", state="s1") is None, "it is not noted again"


def test_state_is_not_stored_in_the_clear(table, signing_in, store):
    """What is stored cannot be used to complete a sign-in."""
    browser = store.begin(signing_in.wanted("a", method=Method.BROWSER))
    store.started(browser, url="https://x/", instructions="", state="a-state-to-look-for")
    assert "a-state-to-look-for" not in str(table.scan()["Items"])


def test_late_state_is_refused(signing_in, store):
    """The browser's way has a deadline too."""
    browser = store.begin(signing_in.wanted("a", method=Method.BROWSER))
    store.started(browser, url="https://x/", instructions="", state="s1")
    signing_in.clock.time += 900
    assert not store.spend_state(browser, "s1")
