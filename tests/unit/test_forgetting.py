"""Bringing OpenCode's session to what is left of the history."""

import asyncio

import pytest

from chat.forgetting import Forgetting
from chat.messages import UIMessage
from tests.fakes import FakeSession, begin
from tests.unit.test_asking import SOCKET, Thread
from threadbox.control import Access
from threadbox.errors import OpenCodeError

ACCESS = Access(url="http://sandbox", token="t", expires_in=900, generation=1, session_id="ses_1")


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr("chat.forgetting.BUSY_PAUSE", 0)


@pytest.fixture
def thread(table, messages, turns, cuts):
    return Thread(table, messages, turns, cuts)


def forget(thread, session):
    """Run what is done before the last question is asked."""
    turn = thread.turns.find("t")
    return asyncio.run(Forgetting(client=session, messages=thread.messages).forget(turn, turn.reach(ACCESS)))


def test_what_was_cut_is_deleted_newest_first(thread):
    """The session ends where the history does."""
    thread.talk("one", "two", "three")
    thread.submit("r-edit", "two", "other")
    session = FakeSession(["r-one", "r-two", "r-three"])
    context = forget(thread, session)

    assert ("ses_1", False) == (context.session_id, context.lost)
    assert ["assistant-r-three", "user-r-three", "assistant-r-two", "user-r-two"] == session.deleted
    assert 0 == session.begun


def test_session_of_which_nothing_is_left_is_replaced(thread):
    """The first question is asked otherwise: a new session is one call, however long the old one was."""
    thread.talk("one", "two")
    thread.submit("r-edit", "one", "other")
    session = FakeSession(["r-one", "r-two"])
    context = forget(thread, session)

    assert ("ses_new_1", False, []) == (context.session_id, context.lost, session.deleted)


def test_cleared_thread_gets_a_new_session(thread):
    """Nothing of before is known."""
    thread.talk("one")
    thread.clearing.clear(SOCKET)
    thread.submit("r-two", "two")
    assert "ses_new_1" == forget(thread, FakeSession(["r-one"])).session_id


def test_done_twice_it_changes_nothing(thread):
    """A function that died between forgetting and asking leaves nothing to undo."""
    thread.talk("one", "two")
    thread.submit("r-edit", "two", "other")
    session = FakeSession(["r-one"])
    assert ([], False) == (session.deleted, forget(thread, session).lost)


@pytest.mark.parametrize("session", [FakeSession([]), FakeSession(["r-two"]), FakeSession(gone=True)])
def test_what_the_agent_does_not_know_any_more_is_said(thread, session):
    """The sandbox, and with it the session, is another one than that which answered what is left."""
    thread.talk("one", "two")
    thread.submit("r-edit", "two", "other")
    assert forget(thread, session).lost


def test_question_that_was_never_answered_need_not_be_known(thread):
    """It may never have reached the agent."""
    thread.talk("one")
    thread.submit("r-lost", "lost")
    thread.turns.end(begin(thread.turns, "t", "r-lost"), "error")
    thread.talk("two")
    thread.submit("r-edit", "two", "other")
    assert not forget(thread, FakeSession(["r-one", "r-two"])).lost


def test_session_that_is_busy_is_stopped_and_waited_for(thread):
    """The answer that was called off ends a moment later; one that never ends is an error."""
    thread.talk("one", "two")
    thread.submit("r-edit", "two", "other")
    session = FakeSession(["r-one", "r-two"], busy=3)
    forget(thread, session)
    assert (3, 2) == (session.aborts, len(session.deleted))
    with pytest.raises(OpenCodeError):
        forget(thread, FakeSession(["r-one", "r-two"], busy=1000))


def test_way_to_the_new_session_is_kept_for_its_sandbox(thread):
    """Another sandbox has its own session."""
    thread.submit("r-one", "one")
    turn = thread.turns.renew(
        begin(thread.turns, "t", "r-one"), generation=1, session_cut=7, session_id="ses_new", session_of=1
    )
    assert "ses_new" == turn.reach(ACCESS).session_id
    assert "ses_1" == turn.reach(ACCESS.model_copy(update={"generation": 2})).session_id
    thread.messages.answer(turn, UIMessage(id="a", role="assistant", parts=[]))
    thread.turns.end(turn, "completed")
    thread.submit("r-two", "two")
    assert "ses_new" == thread.turns.find("t").reach(ACCESS).session_id
