"""Turns: one at a time, whoever asks, whoever dies. The real store on moto."""

import pytest

from chat.claims import LEASE
from chat.messages import UIMessage
from chat.turn import Ask, Place, TurnState
from chat.turns import Sent, Submitted, TurnStore
from tests.fakes import begin
from tests.unit.interleaving import Interruptible
from threadbox.errors import ConflictError
from threadbox.updates import TRIES

pytestmark = pytest.mark.moto


def ask(turns, messages, request_id, message_id=None, thread_id="t"):
    seq = messages.reserve(thread_id)
    message = UIMessage(id=message_id or f"m-{request_id}", role="user", parts=[{"type": "text", "text": "hi"}])
    return turns.submit(
        thread_id,
        request_id,
        seq=seq,
        connection_id="c1",
        writes=messages.creation(thread_id, seq, message, request_id=request_id),
    )


def test_request_claims_an_idle_thread(turns, messages):
    """The first request of a thread gets its turn, and its message is stored with it."""
    assert ask(turns, messages, "r1").result == Submitted.CLAIMED
    assert (turns.find("t").state, turns.find("t").request_id) == (TurnState.QUEUED, "r1")
    assert [message.id for message in messages.list("t")] == ["m-r1"]


def test_request_sent_twice_changes_nothing(turns, messages):
    """A repeated frame neither starts a turn nor stores a message, also when its turn is long over."""
    ask(turns, messages, "r1")
    assert ask(turns, messages, "r1").result == Submitted.DUPLICATE
    turns.end(begin(turns, "t", "r1"), "completed")
    assert ask(turns, messages, "r1").result == Submitted.DUPLICATE

    assert turns.find("t").state == TurnState.ENDED
    assert len(messages.list("t")) == 1


def test_message_that_is_known_is_not_stored_again(turns, messages):
    """A new request for a stored message is told so, and nothing is written."""
    ask(turns, messages, "r1", "m")
    turns.end(begin(turns, "t", "r1"), "error")

    assert ask(turns, messages, "r2", "m").result == Submitted.KNOWN_MESSAGE
    assert turns.find("t").request_id == "r1"
    seq = messages.seq_of("t", "m")
    assert turns.submit("t", "r2", seq=seq, connection_id="c1", writes=[]).result == Submitted.CLAIMED


def test_request_during_a_turn_calls_it_off_and_waits_behind_it(turns, messages):
    """A new message cancels the running answer; when that has ended the new one is next, in the same write."""
    ask(turns, messages, "r1")
    first = begin(turns, "t", "r1")
    assert ask(turns, messages, "r2").result == Submitted.BEHIND
    first = turns.renew(first, generation=3)
    assert first.cancel

    successor = turns.end(first, "aborted")

    assert (successor.state, successor.request_id, successor.cancel) == (TurnState.QUEUED, "r2", False)
    assert begin(turns, "t", "r2").epoch > first.epoch


def test_third_request_pushes_the_waiting_one_out(turns, messages):
    """Only the newest request waits; the one it pushes out is named, so that it can be ended."""
    ask(turns, messages, "r1")
    ask(turns, messages, "r2")

    assert ask(turns, messages, "r3").displaced == "r2"


def test_stale_writer_is_fenced(turns, messages, clock):
    """Once another function took the turn over, the first one can neither renew nor end it."""
    ask(turns, messages, "r1")
    stale = begin(turns, "t", "r1")
    clock.time += LEASE + 1
    assert turns.requeue("t", "r1", failed=None) is not None

    assert turns.renew(stale, generation=1) is None
    assert turns.hand_over(stale, first=1, sent=Sent(Place(2), frozenset())) is None
    assert turns.end(stale, "completed") is None


def test_expired_leases_are_found_and_living_ones_are_not(turns, messages, clock):
    """The schedule sees exactly the turns that nobody renews."""
    ask(turns, messages, "r1", thread_id="a")
    ask(turns, messages, "r2", thread_id="b")
    alive = begin(turns, "b", "r2")
    clock.time += LEASE + 1
    turns.renew(alive, generation=1)

    assert turns.unended() == [("a", "r1")]
    assert turns.requeue("b", "r2", failed=None) is None


def test_ended_turns_leave_the_list(turns, messages, table):
    """Nothing of an ended turn is looked at again by the schedule."""
    ask(turns, messages, "r1")
    turns.end(begin(turns, "t", "r1"), "completed")

    assert [item for item in table.scan()["Items"] if item["thread_id"].startswith("RUNNING#")] == []


def test_turn_does_not_end_unseen_by_a_new_socket(turns, messages, table):
    """A socket that came since the last look makes the end fail once, so that it is looked after."""
    ask(turns, messages, "r1")
    turn = begin(turns, "t", "r1")
    table.update_item(
        Key={"thread_id": "t", "sk": "TURN"},
        UpdateExpression="ADD sockets_version :one",
        ExpressionAttributeValues={":one": 1},
    )

    assert turns.end(turn, "completed") is None
    assert turns.end(turns.renew(turn), "completed") is not None


def test_answers_stand_behind_their_questions(turns, messages):
    """Numbers are drawn in pairs: an answer that is written after the next question still follows its own."""
    ask(turns, messages, "r1")
    first = begin(turns, "t", "r1")
    ask(turns, messages, "r2")
    assert messages.answer(first, UIMessage(id="a1", role="assistant", parts=[]))
    turns.end(turns.renew(first), "aborted")
    assert messages.answer(begin(turns, "t", "r2"), UIMessage(id="a2", role="assistant", parts=[]))

    assert [message.id for message in messages.list("t")] == ["m-r1", "a1", "m-r2", "a2"]


def test_turn_is_handed_over_and_goes_on(turns, messages):
    """What the next function needs to go on is on the row; a further turn starts without it."""
    ask(turns, messages, "r1")
    first = turns.renew(begin(turns, "t", "r1"), generation=4, asks={"call": Ask(kind="question", id="q", asked_at=5)})
    turns.hand_over(first, first=10, sent=Sent(Place(42), frozenset({"c1", "c2"})))
    second = begin(turns, "t", "r1")

    assert (4, 10, 42, "q") == (second.generation, second.first, second.cursor, second.asks["call"].id)
    assert {"c1", "c2"} == second.served
    assert turns.renew(first, generation=4) is None
    turns.end(second, "completed")
    ask(turns, messages, "r2")
    third = begin(turns, "t", "r2")
    assert (4, None, None, {}) == (third.generation, third.first, third.cursor, third.asks)
    assert frozenset() == third.served


def test_model_goes_with_its_request(turns, messages):
    """Also one that waits behind a running turn keeps the model it asked for."""
    for request_id, model in (("r1", "default/demo"), ("r2", "anthropic/claude")):
        turns.submit("t", request_id, seq=1, connection_id="c", model=model, writes=[])
    first = begin(turns, "t", "r1")
    assert "default/demo" == first.model
    assert "anthropic/claude" == turns.end(turns.renew(first), "aborted").model


@pytest.mark.parametrize("conflicts", [1, TRIES])
def test_note_waits_for_a_transaction(turns, messages, table, conflicts):
    """A question that is put behind the turn has the item in hand for a moment: that takes the turn from nobody."""
    ask(turns, messages, "r1")
    turn = begin(turns, "t", "r1")
    told = {"Error": {"Code": "TransactionConflictException", "Message": "Transaction is ongoing for the item"}}
    left = [table.meta.client.exceptions.TransactionConflictException(told, "UpdateItem")] * conflicts

    def meanwhile():
        if left:
            raise left.pop()

    turns = TurnStore(table=Interruptible(table, meanwhile), now=turns.now)
    if conflicts == TRIES:
        with pytest.raises(ConflictError):
            turns.renew(turn)
    else:
        assert turns.renew(turn) == turn
