"""The conversation on the deployed stack: real functions, a real sandbox, the real OpenCode."""

from contextlib import ExitStack

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.chat_client import ChatClient
from tests.e2e.victims import kill, opencode_of, sandboxd_of, workers
from tests.waiting import eventually

WORDS = "stream 60 words every 50 ms"


def test_message_is_answered_and_both_are_kept(thread):
    """The first message of a new thread starts a sandbox, is answered as it is written, and both are stored."""
    with thread.tab() as tab:
        request = tab.ask("say good morning")
        answer = tab.answer(request)

    assert ("completed", "good morning") == (answer.outcome, answer.text)
    assert "start" == answer.kinds()[0]
    starting = [chunk["data"] for chunk in answer.chunks if chunk["type"] == "data-sandbox"]
    assert {"state": "running", "detail": "ready"}.items() <= starting[-1].items()
    assert {"requested", "pulling", "claiming", "booting"} <= starting[-1]["phases"].keys()
    assert ["say good morning", "good morning"] == thread.texts()
    assert answer.chunks[0]["messageId"] == thread.messages()[1]["id"]
    assert "running" == thread.sandbox()["state"]


def test_conversation_goes_on_in_the_same_sandbox(shared):
    """The agent remembers what was said before."""
    with shared.tab() as tab:
        tab.answer(tab.ask("say one"))
        second = tab.answer(tab.ask("what did I say before?"))

    assert "say one" in second.text
    assert 1 == shared.sandbox()["generation"]


def test_two_tabs_and_one_that_comes_late_see_the_same_answer(shared):
    """Every socket gets every chunk; one that attaches in the middle gets it all from the beginning."""
    with shared.tab() as asking, shared.tab() as watching:
        request = asking.ask(WORDS)
        asking.until("text-delta")
        with shared.tab() as late:
            late.probe()
            seen_late = late.answer(request)
        seen = watching.answer(request)

    assert ("completed", "completed") == (seen.outcome, seen_late.outcome)
    assert shared.texts()[-1] == seen.text == seen_late.text
    assert "start" == seen_late.kinds()[0]


def test_tabs_that_open_in_the_moment_an_answer_begins_see_all_of_it(shared):
    """Before the question, with it, while its turn starts and after: whatever a probe is told, nothing is missing."""
    with shared.tab() as asking, ExitStack() as opened:
        asking.answer(asking.ask("say hello"))
        tabs, request = [], ""
        for n in range(8):
            tabs.append(opened.enter_context(shared.tab()))
            tabs[-1].probe()
            if n == 2:
                # It does not end before all are there.
                request = asking.ask("ask me which colour I like")
        call = asking.until("tool-input-available")
        output = {"answers": [["Green"]]}
        reply = {"type": "cf_agent_tool_result", "toolCallId": call["toolCallId"], "toolName": "question"}
        asking.send({**reply, "output": output})
        seen = [tab.answer(request) for tab in tabs]

    assert {"completed"} == {answer.outcome for answer in seen}
    assert {shared.texts()[-1]} == {answer.text for answer in seen}
    assert {1} == {answer.kinds().count("start") for answer in seen}
    assert {1} == {answer.kinds().count("tool-output-available") for answer in seen}


def test_stop_ends_the_answer_and_keeps_what_was_said(shared):
    """Stop ends it within moments; the part that was said stays, and the next message works."""
    before = len(shared.texts())
    with shared.tab() as tab:
        tab.answer(tab.ask("say hello"))
        request = tab.ask("slow 60: a long story")
        tab.until("text-delta")
        tab.stop(request)
        stopped = tab.answer(request, seconds=15)
        after = tab.answer(tab.ask("say still here"))

    assert "aborted" == stopped.outcome
    assert "still here" == after.text
    texts = shared.texts()[before:]
    assert 6 == len(texts)
    assert texts[3]


def test_message_during_an_answer_stops_it_and_is_answered(shared):
    """A new message calls the running answer off; both requests end."""
    with shared.tab() as tab:
        tab.answer(tab.ask("say hello"))
        first = tab.ask("slow 60: a long story")
        tab.until("text-delta")
        second = tab.ask("say never mind")
        assert "aborted" == tab.answer(first, seconds=15).outcome
        assert "never mind" == tab.answer(second).text


def test_frame_sent_twice_is_answered_once(shared):
    """A repeated request changes nothing."""
    before = len(shared.texts())
    with shared.tab() as tab:
        request = tab.ask("say once", request_id="same")
        tab.ask("say once", request_id="same")
        assert "once" == tab.answer(request).text
    assert ["say once", "once"] == shared.texts()[before:]


@pytest.mark.long
@pytest.mark.parametrize("function", ["threadbox-chat-socket", "threadbox-sandbox-ctl"])
def test_other_functions_may_die_during_an_answer(thread, stack, function):
    """What does not pass on the answer can be killed in the middle of it: answer and thread go on."""
    with thread.tab() as tab:
        tab.answer(tab.ask("say hello"))
        request = tab.ask(WORDS)
        tab.until("text-delta")
        kill(workers(stack, function))
        answer = tab.answer(request)
        again = tab.answer(tab.ask("say still here"))

    assert ("completed", "still here") == (again.outcome, again.text)
    assert "completed" == answer.outcome
    assert "word60" == answer.text.split()[-1]


@pytest.mark.parametrize("victim", ["opencode", "sandboxd"])
def test_dead_sandbox_is_said_and_replaced(thread, stack, victim):
    """Whatever of the sandbox dies in the middle of an answer, the user is told, and the next message starts anew."""
    with thread.tab() as tab:
        tab.answer(tab.ask("say hello"))
        request = tab.ask("slow 60: a long story")
        tab.until("text-delta")
        daemon = sandboxd_of(stack, thread.name)
        kill([daemon if victim == "sandboxd" else opencode_of(daemon)])
        ended = tab.answer(request, seconds=60)
        assert "error" == ended.outcome
        assert "sandbox" in ended.last["body"]
        eventually(lambda: thread.sandbox()["state"] == "stopped")
        again = tab.answer(tab.ask("say still here"))

    assert ("completed", "still here") == (again.outcome, again.text)
    assert 2 == thread.sandbox()["generation"]


@pytest.mark.parametrize(
    "held",
    [{"thread": "another"}, {"user": "bob"}, {"ttl": -60}, {"token": "garbage"}, {"token": ""}],
    ids=["of another thread", "of another user", "expired", "garbage", "none at all"],
)
def test_socket_opens_only_for_the_owner(thread, stack, token, held):
    """With another thread's token, another user's, an expired one, garbage and none the handshake is refused."""
    thread.sandbox()
    bad = held.get("token", token(held.get("thread", thread.name), held.get("user", "ann"), held.get("ttl", 900)))
    with pytest.raises(InvalidStatus) as refused, ChatClient.open(stack.ws_url, thread=thread.name, token=bad):
        pass
    assert refused.value.response.status_code in (401, 403)
    answer = httpx.get(f"{stack.http_url}/agents/chat/{thread.name}/get-messages", params={"token": bad}, timeout=30)
    assert answer.json()["code"] in ("unauthorized", "forbidden")


@pytest.mark.parametrize("thread_id", ["a/b", "x" * 129, "", "Ann's"])
def test_socket_of_what_is_no_thread_is_refused(stack, token, thread_id):
    """A slash, too long, nothing, or another sign: the handshake is refused, whatever the token says."""
    bad = token(thread_id, "ann")
    with pytest.raises(InvalidStatus) as refused, ChatClient.open(stack.ws_url, thread=thread_id, token=bad):
        pass
    assert refused.value.response.status_code in (401, 403)


def test_sandbox_can_be_started_looked_at_and_stopped(thread):
    """POST starts and answers at once, GET tells, DELETE stops; each can be repeated."""
    path = f"/api/sandbox/{thread.name}"
    assert "stopped" == thread.sandbox()["state"]
    first = thread.http.post(path)
    assert (202, "starting") == (first.status_code, first.json()["state"])
    eventually(lambda: thread.http.post(path).status_code == 200, seconds=60)
    assert "1.18.33" == thread.sandbox()["opencode_version"]

    thread.http.delete(path).raise_for_status()
    thread.http.delete(path).raise_for_status()

    eventually(lambda: thread.sandbox()["state"] == "stopped", seconds=60)
    assert 1 == thread.sandbox()["generation"]
