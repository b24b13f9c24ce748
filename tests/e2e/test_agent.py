"""The agent at work on the deployed stack: tools, permissions, questions, models that fail."""

import json

import pytest

from tests.waiting import eventually


def tool_chunks(answer):
    return [chunk for chunk in answer.chunks if chunk["type"].startswith("tool-")]


def last_parts(thread):
    return thread.messages()[-1]["parts"]


def test_reasoning_is_streamed_and_kept(shared):
    """What the model thinks aloud comes as reasoning, before the answer, and is stored so."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("think aloud about apples"))

    assert "completed" == answer.outcome
    kinds = answer.kinds()
    assert kinds.index("reasoning-start") < kinds.index("reasoning-end") < kinds.index("text-start")
    assert "reasoning" in [part["type"] for part in last_parts(shared)]


def test_command_is_run_with_its_output_and_exit_code(shared):
    """The user sees the command, what it prints while it runs, its output and how it ended; usage is counted."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("run: echo out; echo err >&2; exit 3"))

    assert "completed" == answer.outcome
    call = next(chunk for chunk in tool_chunks(answer) if chunk["type"] == "tool-input-available")
    result = [chunk for chunk in tool_chunks(answer) if chunk["type"] == "tool-output-available"][-1]
    assert ("bash", "echo out; echo err >&2; exit 3") == (call["toolName"], call["input"]["command"])
    assert 3 == result["output"]["exit_code"]
    assert {"out", "err"} <= set(result["output"]["output"].split())
    message = shared.messages()[-1]
    assert "output-available" == next(p for p in message["parts"] if p["type"] == "tool-bash")["state"]
    assert message["metadata"]["usage"]["totalTokens"] > 0
    assert "default/demo" == message["metadata"]["model"]


def test_several_steps_in_one_answer(shared):
    """Writing a file and running it are two calls in one message."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("write hello.py and run it"))

    names = [chunk["toolName"] for chunk in tool_chunks(answer) if chunk["type"] == "tool-input-available"]
    assert ["write", "bash"] == names
    assert answer.kinds().count("start-step") >= 3
    assert answer.kinds().count("start-step") == answer.kinds().count("finish-step")


@pytest.mark.parametrize(("approved", "end"), [(True, "tool-output-available"), (False, "tool-output-denied")])
def test_permission_is_asked_and_answered(shared, approved, end):
    """What cannot be taken back waits for the user: allowed it runs, refused it does not."""
    with shared.tab() as tab:
        request = tab.ask("run: rm -rf nothing-of-that-name")
        ask = tab.until("tool-approval-request")
        tab.send({"type": "cf_agent_tool_approval", "toolCallId": ask["toolCallId"], "approved": approved})
        answer = tab.answer(request)

    assert end in answer.kinds()
    assert answer.outcome in ("completed", "aborted")


def test_question_is_asked_and_answered(shared):
    """The agent asks, the user chooses, the agent goes on with the choice."""
    with shared.tab() as tab:
        request = tab.ask("ask me something")
        call = next(
            chunk for chunk in iter(lambda: tab.until("tool-input-available"), None) if chunk["toolName"] == "question"
        )
        choice = call["input"]["questions"][0]["options"][0]["label"]
        tab.send(
            {
                "type": "cf_agent_tool_result",
                "toolCallId": call["toolCallId"],
                "toolName": "question",
                "output": {"answers": [[choice]]},
            }
        )
        answer = tab.answer(request)

    assert "completed" == answer.outcome
    assert choice in json.dumps(answer.chunks)


@pytest.mark.parametrize(
    ("text", "code"),
    [("fail 401", "model_unauthorized"), ("talk nonsense", "model_failed")],
)
def test_model_that_fails_is_told_in_words(shared, text, code):
    """Each failure has a code and a sentence, and the conversation goes on."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask(text))
        assert ("error", code) == (answer.outcome, answer.last["code"])
        assert answer.last["body"].endswith(".")
        assert "fine" == tab.answer(tab.ask("say fine")).text


def test_unknown_model_is_told(shared):
    """A model that is not there is an error of the request, not of the sandbox."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("say hello", model="default/no-such-model"))
        assert ("error", "model_unknown") == (answer.outcome, answer.last["code"])
        assert "fine" == tab.answer(tab.ask("say fine", model="default/demo")).text


def test_new_sandbox_says_that_context_is_gone(thread):
    """A conversation that goes on in a new sandbox is told that the agent does not remember."""
    with thread.tab() as tab:
        tab.answer(tab.ask("say one"))
        thread.http.delete(f"/api/sandbox/{thread.name}").raise_for_status()
        eventually(lambda: thread.sandbox()["state"] == "stopped", seconds=60)
        answer = tab.answer(tab.ask("say two"))

    lost = [chunk for chunk in answer.chunks if chunk["type"] == "data-sandbox" and chunk["data"].get("context_lost")]
    assert ("two", 1) == (answer.text, len(lost))


def test_three_hundred_frames_in_a_second(shared):
    """A flood is answered, hangs nothing and loses nothing: the last question is answered, all the others end."""
    with shared.tab() as tab:
        for n in range(300):
            tab.send({"type": "nothing we know", "n": n})
        assert "fine" == tab.answer(tab.ask("say fine")).text


def test_deleted_thread_is_gone(thread):
    """Nothing of it is found again; its sandbox ends."""
    with thread.tab() as tab:
        tab.answer(tab.ask("say hello"))
    removed = thread.http.delete(f"/api/threads/{thread.name}").raise_for_status().json()["removed"]

    assert {"messages": 2, "turns": 1, "sandboxes": 1} == {k: v for k, v in removed.items() if k != "sockets"}
    assert [] == thread.messages()
    assert "stopped" == thread.sandbox()["state"]
