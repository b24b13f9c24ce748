"""Asking again, editing and clearing: what is left of the history, whoever else writes at the same time."""

from types import SimpleNamespace

import pytest

from chat import frames
from chat.asking import Asking
from chat.clearing import Clearing
from chat.messages import UIMessage
from chat.turn import TurnState
from chat.turns import Submitted
from tests.fakes import FakeAgent, FakeConnections, begin
from threadbox.errors import HistoryUnavailableError
from threadbox.sockets import Socket, SocketBroadcast, SocketStore

SOCKET = Socket(thread_id="t", connection_id="c1", user_id="u")


class Thread:
    """A thread with its stores; each question is answered at once."""

    def __init__(self, table, messages, turns, cuts):
        self.table, self.messages, self.turns, self.cuts = table, messages, turns, cuts
        self.asking = Asking(messages=messages, turns=turns, cuts=cuts, per_minute=1000)
        self.sockets = SocketStore(table=table)
        self.connections = FakeConnections()
        self.agent = FakeAgent()
        self.clearing = Clearing(
            table=table,
            messages=messages,
            turns=turns,
            cuts=cuts,
            agent=self.agent,
            broadcast=SocketBroadcast(store=self.sockets, connections=self.connections),
        )

    def submit(self, request_id, message_id, text="hi", *, again=False):
        message = UIMessage(id=message_id, role="user", parts=[{"type": "text", "text": text}])
        trigger = "regenerate-message" if again else "submit-message"
        frame = frames.ChatRequest.model_construct(
            id=request_id, init=SimpleNamespace(body=frames.ChatBody(messages=[message], trigger=trigger))
        )
        return self.asking.submit(SOCKET, frame)

    def answer(self, request_id):
        turn = begin(self.turns, "t", request_id)
        message = UIMessage(id=turn.answer_id, role="assistant", parts=[{"type": "text", "text": f"to {request_id}"}])
        self.messages.answer(turn, message)
        return self.turns.end(self.turns.renew(turn, generation=1), "completed")

    def talk(self, *names):
        for name in names:
            self.submit(f"r-{name}", name, f"say {name}")
            self.answer(f"r-{name}")

    def texts(self):
        return [message.text() for message in self.messages.list("t")]

    def keys(self, prefix):
        return sorted(item["sk"] for item in self.table.scan()["Items"] if item["sk"].startswith(prefix))


@pytest.fixture
def thread(table, messages, turns, cuts):
    return Thread(table, messages, turns, cuts)


def test_edit_replaces_a_message_and_what_followed_it(thread):
    """A known id is where the history is cut; the message is stored anew, behind everything, with its new text."""
    thread.talk("one", "two", "three")

    submission = thread.submit("r-edit", "two", "say it otherwise")
    assert (Submitted.CLAIMED, True) == (submission.result, submission.cut)
    assert ["say one", "to r-one", "say it otherwise"] == thread.texts()
    thread.answer("r-edit")

    assert ["say one", "to r-one", "say it otherwise", "to r-edit"] == thread.texts()
    assert thread.turns.find("t").context_is_stale


def test_question_asked_again_keeps_its_text(thread):
    """Regenerating cuts what followed the question; what the tab says its text was does not count."""
    thread.talk("one", "two", "three")
    thread.submit("r-again", "two", "something else", again=True)

    assert ["say one", "to r-one", "say two"] == thread.texts()


def test_unknown_message_that_is_asked_again_is_asked(thread):
    """A message that never arrived is stored and answered like a new one."""
    thread.talk("one")
    thread.submit("r-again", "lost", "say lost", again=True)

    assert ["say one", "to r-one", "say lost"] == thread.texts()


def test_what_was_cut_is_deleted(thread):
    """No message and no id of what was cut is left, nor the cut; the id that was asked again stays claimed."""
    thread.talk("one", "two", "three")
    thread.submit("r-edit", "two", "other")

    assert 4 == thread.cuts.sweep("t")
    assert [] == thread.keys("CUT#")
    assert ["MSGID#one", "MSGID#two"] == thread.keys("MSGID#")
    assert 3 == len(thread.keys("MSG#"))
    assert ["say one", "to r-one", "other"] == thread.texts()
    thread.answer("r-edit")
    assert Submitted.CLAIMED == thread.submit("r-edit-2", "two", "once more").result
    assert ["say one", "to r-one", "once more"] == thread.texts()


def test_message_that_was_cut_but_not_deleted_yet_is_new(thread):
    """Its id is free again for whoever still shows it: it follows the history, and cuts nothing."""
    thread.talk("one", "two", "three")
    thread.submit("r-edit", "two", "other")
    thread.answer("r-edit")
    thread.submit("r-late", "three", "say three")

    assert ["say one", "to r-one", "other", "to r-edit", "say three"] == thread.texts()


def test_edit_during_an_answer_calls_it_off_and_its_answer_is_not_kept(thread):
    """The running function may end as it likes: what it would store belongs to a question that is gone."""
    thread.submit("r-one", "one")
    running = begin(thread.turns, "t", "r-one")
    assert Submitted.BEHIND == thread.submit("r-edit", "one", "other").result

    assert not thread.messages.answer(running, UIMessage(id="a", role="assistant", parts=[]))
    assert thread.turns.end(running, "completed") is None, "it has to look what became of the history"
    renewed = thread.turns.renew(running, generation=1)
    assert (True, False) == (renewed.cancel, renewed.cleared)
    assert "r-edit" == thread.turns.end(renewed, "aborted").request_id
    assert ["other"] == thread.texts()


def test_edit_of_the_waiting_message_leaves_the_running_answer_alone(thread):
    """What is cut lies behind it."""
    thread.submit("r-one", "one", "say one")
    running = begin(thread.turns, "t", "r-one")
    thread.submit("r-two", "two", "say two")
    assert "r-two" == thread.submit("r-edit", "two", "other").displaced

    assert thread.messages.answer(running, UIMessage(id="a", role="assistant", parts=[{"type": "text", "text": "!"}]))
    assert ["say one", "!", "other"] == thread.texts()


def test_message_submitted_before_a_cut_and_written_after_it_is_not_lost(thread):
    """Its number is one that the cut covers, so it is refused, and stored under a higher one."""
    thread.talk("one")
    late = thread.messages.reserve("t")
    thread.submit("r-edit", "one", "other")
    thread.answer("r-edit")
    message = UIMessage(id="late", role="user", parts=[{"type": "text", "text": "late"}])
    writes = thread.messages.creation("t", late, message, request_id="r-late")

    refused = thread.turns.submit("t", "r-late", seq=late, connection_id="c1", writes=writes)
    assert Submitted.CUT == refused.result
    thread.submit("r-late", "late", "late")
    assert ["other", "to r-edit", "late"] == thread.texts()


def test_two_edits_of_one_message_are_one_after_the_other(thread):
    """The second finds the message where the first has put it."""
    thread.talk("one", "two")
    thread.submit("r-first", "two", "first")
    thread.answer("r-first")
    thread.submit("r-second", "two", "second")

    assert ["say one", "to r-one", "second"] == thread.texts()


def test_cleared_thread_is_empty_and_can_be_talked_in(thread):
    """Messages, ids and turns are gone; the next question begins a history of its own."""
    thread.talk("one", "two")
    thread.clearing.clear(SOCKET)

    assert ([], [], []) == (thread.texts(), thread.keys("MSG"), thread.keys("TURN#"))
    assert [] == thread.keys("CUT#")
    thread.talk("one")
    assert ["say one", "to r-one"] == thread.texts()
    assert thread.turns.find("t").context_is_stale


def test_clear_tells_the_other_tabs_only(thread):
    """Nobody answers to whom cleared."""
    for name in ("c1", "c2"):
        thread.sockets.create(Socket(thread_id="t", connection_id=name, user_id="u"))
    thread.talk("one")
    thread.clearing.clear(SOCKET)

    assert [("c2", {"type": "cf_agent_chat_clear"})] == thread.connections.posted
    assert [] == thread.agent.aborted


def test_clear_during_an_answer_is_the_running_functions_to_tell(thread):
    """The history is empty at once; the turn is called off, keeps nothing, and leaves nothing of itself behind."""
    thread.sockets.create(Socket(thread_id="t", connection_id="c2", user_id="u"))
    thread.talk("one")
    thread.submit("r-two", "two")
    running = begin(thread.turns, "t", "r-two")
    thread.submit("r-three", "three")
    thread.clearing.clear(SOCKET)

    assert [] == thread.texts()
    assert ["r-two"] == thread.agent.aborted
    assert ["r-three"] == [frame["id"] for _, frame in thread.connections.posted]
    assert not thread.messages.answer(running, UIMessage(id="a", role="assistant", parts=[]))
    renewed = thread.turns.renew(running, generation=1)
    assert (True, True, "c1") == (renewed.cancel, renewed.cleared, renewed.cleared_by)
    assert TurnState.ENDED == thread.turns.end(renewed, "aborted").state
    assert ([], []) == (thread.keys("TURN#"), thread.keys("RUNNING#"))


def test_message_after_a_clear_waits_for_the_old_answers_end_and_stays(thread):
    """It is no part of what was cleared, though the function of the old turn has not ended yet."""
    thread.submit("r-one", "one")
    running = begin(thread.turns, "t", "r-one")
    thread.clearing.clear(SOCKET)
    assert Submitted.BEHIND == thread.submit("r-two", "two", "say two").result
    successor = thread.turns.end(thread.turns.renew(running, generation=1), "aborted")

    assert ("r-two", False) == (successor.request_id, successor.cleared)
    thread.answer("r-two")
    assert ["say two", "to r-two"] == thread.texts()


def test_clear_ends_a_turn_that_no_function_runs_yet(thread, table):
    """Its request ends for every tab before the others are emptied; whoever would start it finds nothing to start."""
    for name in ("c1", "c2"):
        thread.sockets.create(Socket(thread_id="t", connection_id=name, user_id="u"))
    thread.submit("r-one", "one")
    thread.clearing.clear(SOCKET)

    assert begin(thread.turns, "t", "r-one") is None
    assert ["r-one", None] == [frame.get("id") for frame in thread.connections.to("c2")]
    assert ["r-one"] == [frame.get("id") for frame in thread.connections.to("c1")]
    assert [] == [item for item in table.scan()["Items"] if item["thread_id"].startswith("RUNNING#")]


def test_large_answers_are_kept_outside_and_deleted_with_the_rest(thread, bodies):
    """The item names the object; clearing deletes it, also one that no item names."""
    thread.submit("r-one", "one")
    turn = begin(thread.turns, "t", "r-one")
    parts = [{"type": "text", "text": "x" * 400_000}]
    thread.messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    bodies.put("t", 1, 7, b"left behind")
    bodies.put("t", 999, 1, b"of a later message")

    assert 400_000 == len(thread.messages.list("t")[1].text())
    thread.turns.end(turn, "completed")
    thread.clearing.clear(SOCKET)
    assert 1 == bodies.delete_thread("t")


def test_body_of_an_answer_that_is_refused_does_not_stay(thread, bodies):
    """Nothing would ever name it."""
    thread.submit("r-one", "one")
    turn = begin(thread.turns, "t", "r-one")
    thread.submit("r-edit", "one", "other")
    parts = [{"type": "text", "text": "x" * 400_000}]

    assert not thread.messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    assert 0 == bodies.delete_thread("t")


def test_answer_that_cannot_be_kept_outside_is_kept_shortened(thread, bodies):
    """S3 is away: the most of it is better than nothing."""
    bodies.client().delete_bucket(Bucket="bodies")
    thread.submit("r-one", "one")
    turn = begin(thread.turns, "t", "r-one")
    parts = [{"type": "text", "text": "x" * 400_000}, {"type": "text", "text": "the end"}]

    assert thread.messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    (_, answer) = thread.messages.list("t")
    assert "(shortened)" in answer.parts[0]["text"]
    assert "the end" == answer.parts[1]["text"]


def test_cut_that_cannot_be_deleted_is_not_seen(thread, bodies):
    """Deleting fails, and is made up for by the next one that comes by."""
    thread.talk("one")
    bodies.client().delete_bucket(Bucket="bodies")
    with pytest.raises(HistoryUnavailableError):
        thread.clearing.clear(SOCKET)
    assert ([], 1) == (thread.texts(), len(thread.keys("CUT#")))

    bodies.client().create_bucket(Bucket="bodies")
    thread.clearing.clear(SOCKET)
    assert ([], []) == (thread.keys("CUT#"), thread.keys("MSG"))


def test_answer_is_stored_once(thread):
    """Neither a stale function nor a recovery writes over what is stored."""
    thread.submit("r-one", "one")
    stale = begin(thread.turns, "t", "r-one")
    thread.turns.requeue("t", "r-one", failed=stale.invocation)
    taken = begin(thread.turns, "t", "r-one")
    late, first, second = (
        thread.messages.answer(turn, UIMessage(id="a", role="assistant", parts=[{"type": "text", "text": text}]))
        for turn, text in ((stale, "late"), (taken, "first"), (taken, "second"))
    )

    assert (False, True, False) == (late, first, second)
    assert ["hi", "first"] == thread.texts()


def test_large_answers_are_not_read_to_see_that_they_do_not_fit(thread, bodies):
    """A list for other tabs has to fit into a frame: whether it does is known without the bucket."""
    thread.talk("one")
    assert ["say one", "to r-one"] == [message.text() for message in thread.messages.list("t", size=30_000)]
    assert thread.messages.list("t", size=100) is None
    thread.submit("r-two", "two")
    turn = begin(thread.turns, "t", "r-two")
    parts = [{"type": "text", "text": "x" * 400_000}]
    thread.messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    bodies.delete_thread("t")
    assert thread.messages.list("t", size=300_000) is None
