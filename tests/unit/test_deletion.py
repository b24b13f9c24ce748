"""Deleting a thread, on real stores."""

from types import SimpleNamespace

import pytest

from chat.deletion import ThreadDeletion
from chat.messages import UIMessage
from tests.fakes import FakeConnections, secret, session
from threadbox.errors import ConflictError, ForbiddenError, HistoryUnavailableError
from threadbox.sessions import SessionVerifier
from threadbox.sockets import Socket, SocketStore
from threadbox.threads import ThreadStore

pytestmark = pytest.mark.moto

KEY = {"kid": "k", "key": "s" * 64}


def token(user="u"):
    return session(KEY, user=user)


@pytest.fixture
def control():
    return SimpleNamespace(stop=control_stop, disconnect=lambda _thread_id: True, forget=lambda _thread_id: 3)


def control_stop(thread_id):
    if thread_id == "busy":
        raise ConflictError("just being started")


@pytest.fixture
def deletion(table, bodies, clock, control):
    return ThreadDeletion(
        table=table,
        bodies=bodies,
        sessions=SessionVerifier(secret=secret(KEY)),
        threads=ThreadStore(table=table, now=clock),
        sockets=SocketStore(table=table),
        connections=FakeConnections(),
        control=control,
    )


@pytest.fixture
def thread(deletion, messages, turns):
    """A thread with forty messages, two sockets and a running turn."""
    deletion.threads.claim("t", user_id="u")
    for n in range(40):
        seq = messages.reserve("t")
        message = UIMessage(id=f"m{n}", role="user", parts=[{"type": "text", "text": "hi"}])
        turns.submit(
            "t", f"r{n}", seq=seq, connection_id="c", writes=messages.creation("t", seq, message, request_id=f"r{n}")
        )
    for name in ("c1", "c2"):
        deletion.sockets.create(Socket(thread_id="t", connection_id=name, user_id="u"))


def test_everything_of_the_thread_is_gone(deletion, thread, table):
    """Not an item is left, whatever partition it is in; sockets are closed; deleting again finds nothing."""
    removed = deletion.delete("t", token=token())

    assert {"messages": 40, "turns": 40, "sockets": 2, "sandboxes": 0, "grants": 1, "bodies": 0, "memory": 3} == removed
    assert [] == table.scan()["Items"]
    assert ["c1", "c2"] == sorted(deletion.connections.closed)
    assert 0 == deletion.delete("t", token=token())["messages"]


def test_bodies_in_the_bucket_are_deleted_and_counted(deletion, thread, bodies):
    """Those that an item names, and what a function left that died before it wrote the item; no other thread's."""
    for number in (2, 4, 6):
        bodies.put("t", number, 1, b"{}")
    bodies.put("another", 2, 1, b"{}")

    assert 3 == deletion.delete("t", token=token())["bodies"]
    assert 0 == deletion.delete("t", token=token())["bodies"]
    assert 1 == bodies.delete_thread("another")


def test_nothing_is_removed_while_bodies_cannot_be_deleted(deletion, thread, table, bodies):
    """Trying again is enough."""
    before = table.scan()["Count"]
    bodies.client().delete_bucket(Bucket="bodies")
    with pytest.raises(HistoryUnavailableError):
        deletion.delete("t", token=token())
    assert before - 4 == table.scan()["Count"], "the sockets are revoked, with the way back from each"


def test_only_the_owner_deletes(deletion, thread, table):
    """Another user's token changes nothing."""
    before = table.scan()["Count"]
    with pytest.raises(ForbiddenError):
        deletion.delete("t", token=token(user="somebody else"))
    assert before == table.scan()["Count"]


def test_nothing_is_removed_while_the_grant_cannot_be_taken_back(deletion, thread, table, control):
    """The vault's row is the only way to its revocation."""
    before = table.scan()["Count"]
    control.disconnect = lambda _: control_stop("busy")
    with pytest.raises(ConflictError):
        deletion.delete("t", token=token())
    assert before == table.scan()["Count"]


def test_nothing_is_removed_while_the_sandbox_cannot_be_stopped(deletion, thread, table, control):
    """A sandbox must not be left behind by a thread that is no longer known."""
    before = table.scan()["Count"]
    control.stop = lambda _: control_stop("busy")
    with pytest.raises(ConflictError):
        deletion.delete("t", token=token())
    assert before == table.scan()["Count"]
