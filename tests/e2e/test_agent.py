"""The agent at work on the deployed stack: tools, permissions, questions, models that fail, input that is bad."""

import json

import pytest

from local.demo.talk import title
from tests.e2e.victims import kill, sandboxd_of

FLOOD = 300
QUESTIONS = 20


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


def test_thread_gets_its_title_from_its_first_message(shared):
    """OpenCode asks the model for it beside the first answer, and whoever looks at a later one hears it too."""
    with shared.tab() as tab:
        request = tab.ask("slow 60: why the sky is blue")
        told = tab.until("data-thread")
        tab.stop(request)
        assert "aborted" == tab.answer(request).outcome

    assert title(shared.texts()[0]) == told["data"]["title"]


def test_command_is_run_with_its_output_and_exit_code(shared):
    """The user sees the command, what it prints while it runs, its output and how it ended; usage is counted."""
    command = "echo out; sleep 1; echo err >&2; exit 3"
    with shared.tab() as tab:
        answer = tab.answer(tab.ask(f"run: {command}"))

    assert "completed" == answer.outcome
    call = next(chunk for chunk in tool_chunks(answer) if chunk["type"] == "tool-input-available")
    first, *_, last = [chunk for chunk in tool_chunks(answer) if chunk["type"] == "tool-output-available"]
    assert ("bash", command) == (call["toolName"], call["input"]["command"])
    assert (True, "out") == (first["preliminary"], first["output"]["output"].strip())
    assert "preliminary" not in last
    assert 3 == last["output"]["exit_code"]
    assert {"out", "err"} <= set(last["output"]["output"].split())
    message = shared.messages()[-1]
    assert "output-available" == next(p for p in message["parts"] if p["type"] == "tool-bash")["state"]
    assert message["metadata"]["usage"]["totalTokens"] > 0
    assert "stop" == message["metadata"]["finishReason"]
    assert "default/demo" == message["metadata"]["model"]


def test_several_steps_in_one_answer(shared):
    """Writing a file and running it are two calls in one message."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("write hello.py and run it"))

    names = [chunk["toolName"] for chunk in tool_chunks(answer) if chunk["type"] == "tool-input-available"]
    assert ["write", "bash"] == names
    assert answer.kinds().count("start-step") >= 3
    assert answer.kinds().count("start-step") == answer.kinds().count("finish-step")


def test_tool_that_fails_says_why(shared):
    """A tool's error is shown and stored as one, and the agent goes on."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("read missing.txt"))

    (failed,) = [chunk for chunk in answer.chunks if chunk["type"] == "tool-output-error"]
    stored = next(part for part in last_parts(shared) if part["type"] == "tool-read")
    assert "completed" == answer.outcome
    assert "not found" in failed["errorText"]
    assert ("output-error", failed["errorText"]) == (stored["state"], stored["errorText"])


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
    ("text", "code", "said"),
    [
        ("fail 401", "model_unauthorized", "(401)"),
        ("fail 429", "model_rate_limited", "(429)"),
        ("fail 500", "model_failed", "(500)"),
        ("talk nonsense", "model_failed", "no answer"),
        ("talk nonsense as html", "model_failed", "no answer"),
    ],
)
def test_model_that_fails_is_told_in_words(shared, text, code, said):
    """Each failure has a code and a sentence, and the conversation goes on."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask(text))
        assert ("error", code) == (answer.outcome, answer.last["code"])
        assert said in answer.last["body"]
        assert answer.last["body"].endswith(".")
        assert "fine" == tab.answer(tab.ask("say fine")).text


def test_what_a_second_try_repeats_is_seen_once(shared):
    """When the model breaks off and OpenCode asks again, the text goes on where it was; the user hears of the try."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("cut the stream once"))

    assert ("completed", "Some words, then the rest of them, and that was all.") == (answer.outcome, answer.text)
    assert answer.text == shared.texts()[-1]
    assert "data-retry" in answer.kinds()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_stream_that_is_cut_each_time_ends_in_words(thread):
    """
    OpenCode gives up after some tries, which take it a minute: what was said is seen and kept once, each further try
    is told, and the failure has its code, a sentence and a way on.
    """
    with thread.tab() as tab:
        answer = tab.answer(tab.ask("cut the stream"), seconds=200)
        after = tab.answer(tab.ask("say fine"))

    assert ("error", "model_failed") == (answer.outcome, answer.last["code"])
    assert "Please try again." in answer.last["body"]
    assert answer.text
    assert "Some words, then the rest of them, and that was all.".startswith(answer.text.strip())
    assert answer.text == thread.texts()[1]
    tries = [chunk["data"]["attempt"] for chunk in answer.chunks if chunk["type"] == "data-retry"]
    assert [1, 2, 3, 4, 5] == tries
    assert "fine" == after.text


def test_unknown_model_is_told(shared):
    """A model that is not there is an error of the request, not of the sandbox."""
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("say hello", model="default/no-such-model"))
        assert ("error", "model_unknown") == (answer.outcome, answer.last["code"])
        assert "fine" == tab.answer(tab.ask("say fine", model="default/demo")).text


def test_new_sandbox_says_that_context_is_gone(thread, stack):
    """A sandbox that died before it was saved is replaced by the next message, which says what that costs."""
    with thread.tab() as tab:
        tab.answer(tab.ask("say one"))
        kill([sandboxd_of(stack, thread.name)])
        answer = tab.answer(tab.ask("say two"))

    lost = [chunk for chunk in answer.chunks if chunk["type"] == "data-sandbox" and chunk["data"].get("context_lost")]
    assert ("completed", "two", 1) == (answer.outcome, answer.text, len(lost))
    assert ["say one", "one", "say two", "two"] == thread.texts()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_request"),
        ('{"type": "cf_agent_tool_approval", "toolCallId": "nobody-asked", "approved": true}', "conflict"),
        ('{"type": "cf_agent_chat_request_cancel", "id": "\\ud800"}', "invalid_request"),
    ],
)
def test_frame_that_cannot_be_read_is_answered_in_words(shared, frame, code):
    """It has a code, and the socket goes on."""
    with shared.tab() as tab:
        tab.send(frame)
        problem = tab.until_frame("error")
    assert (code, True) == (problem["code"], problem["message"].endswith("."))


def test_message_that_is_too_long_is_refused(shared):
    """25 KB are over the limit; the request ends with a code and a sentence, and nothing of it is stored."""
    before = len(shared.messages())
    with shared.tab() as tab:
        answer = tab.answer(tab.ask("x" * 25_000))

    assert ("error", "too_large") == (answer.outcome, answer.last["code"])
    assert "24 KB" in answer.last["body"]
    assert before == len(shared.messages())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/agents/chat/a%2Fb/get-messages", (404, "not_found")),
        ("/agents/chat/a/b/get-messages", (404, "not_found")),
        ("/api/sandbox/a%2Fb", (404, "not_found")),
        (f"/agents/chat/{'x' * 129}/get-messages", (422, "invalid_request")),
        ("/agents/chat/another/get-messages", (403, "forbidden")),
    ],
)
def test_address_that_is_no_thread_of_ones_own_is_refused(shared, path, expected):
    """A thread id with a slash, one too long and somebody else's: each has its status and code."""
    answer = shared.http.get(path)
    assert expected == (answer.status_code, answer.json()["code"])


@pytest.mark.long
def test_three_hundred_frames_in_a_second(shared):
    """A flood of questions, rubbish and unknown frames: each question ends, the last is answered, all are kept."""
    rubbish = 0
    with shared.tab() as tab:
        requests = []
        for n in range(FLOOD):
            if n % (FLOOD // QUESTIONS) == 0:
                requests.append(tab.ask(f"say {n} of the flood"))
            elif n % 3:
                tab.send({"type": "nothing we know", "n": n})
            else:
                tab.send("{")
                rubbish += 1
        ends, problems = {}, 0
        for frame in tab.frames():
            problems += frame["type"] == "error"
            if frame.get("done"):
                ends[frame["id"]] = frame.get("outcome")
            if len(ends) == len(requests) and problems == rubbish:
                break

    assert set(requests) == ends.keys()
    assert {"aborted", "completed"} >= set(ends.values())
    assert "completed" == ends[requests[-1]]
    texts = shared.texts()
    assert f"{FLOOD - FLOOD // QUESTIONS} of the flood" == texts[-1]
    assert QUESTIONS == len([text for text in texts if text.startswith("say ") and text.endswith(" of the flood")])


def test_deleted_thread_is_gone(thread):
    """Nothing of it is found again; its sandbox ends."""
    with thread.tab() as tab:
        tab.answer(tab.ask("say hello"))
    removed = thread.http.delete(f"/api/threads/{thread.name}").raise_for_status().json()["removed"]

    known = {"messages": 2, "turns": 1, "sandboxes": 1, "grants": 0, "bodies": 0}
    assert known == {k: v for k, v in removed.items() if k not in {"sockets", "memory"}}
    assert [] == thread.messages()
    assert "stopped" == thread.sandbox()["state"]
