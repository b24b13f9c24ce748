"""OpenCode's events become chunks and parts."""

import pytest

from chat.chunks import merged, replayed
from chat.translation import Translation
from chat.turn import Ask

SESSION, PART = "ses_1", "prt_ours"


def event(kind, **properties):
    return {"type": kind, "properties": {"sessionID": SESSION, **properties}}


def user():
    return event("message.part.updated", part={"id": PART, "messageID": "msg_u", "type": "text", "text": "hi"})


def assistant(message_id="msg_a", *, completed=None, parent="msg_u", error=None):
    info = {"id": message_id, "role": "assistant", "parentID": parent, "time": {"completed": completed}}
    return event("message.updated", info=info | ({"error": error} if error else {}))


def text(whole, *, part_id="prt_1", message_id="msg_a", end=None):
    part = {"id": part_id, "messageID": message_id, "type": "text", "text": whole, "time": {"end": end}}
    return event("message.part.updated", part=part)


def delta(piece, part_id="prt_1"):
    return event("message.part.delta", messageID="msg_a", partID=part_id, field="text", delta=piece)


def feed(translation, *events):
    return [chunk for each in events for chunk in translation.feed(each)]


def shown(chunks):
    return "".join(chunk.get("delta", "") for chunk in chunks)


def test_text_turn_in_order():
    """A plain answer: one step, one text, and the end when the session is idle."""
    translation = Translation(session_id=SESSION, part_id=PART)

    chunks = feed(
        translation,
        user(),
        assistant(),
        text(""),
        delta("Hel"),
        delta("lo"),
        text("Hello", end=5),
        assistant(completed=6),
    )

    assert [chunk["type"] for chunk in chunks] == [
        "start-step",
        "text-start",
        "text-delta",
        "text-delta",
        "text-end",
        "finish-step",
    ]
    assert shown(chunks) == "Hello"
    assert not translation.finished
    feed(translation, event("session.idle"))
    assert translation.finished
    assert translation.parts() == [{"type": "step-start"}, {"type": "text", "text": "Hello", "state": "done"}]


def test_idle_of_an_earlier_turn_does_not_end_this_one():
    """An abort is followed by two idles; those that come late belong to the turn before."""
    translation = Translation(session_id=SESSION, part_id=PART)

    feed(translation, event("session.idle"), user(), event("session.idle"), assistant(), event("session.idle"))

    assert not translation.finished


def test_events_of_others_are_passed_over():
    """Another session's events, and messages that answer another question, add nothing."""
    translation = Translation(session_id=SESSION, part_id=PART)
    stranger = {"type": "message.updated", "properties": {"sessionID": "ses_2", "info": {}}}

    assert (
        feed(translation, user(), stranger, assistant("msg_x", parent="msg_before"), text("x", message_id="msg_x"))
        == []
    )


def test_missed_deltas_are_made_up_when_the_part_is_whole():
    """A part that arrives whole adds just what was not streamed of it."""
    translation = Translation(session_id=SESSION, part_id=PART)

    chunks = feed(translation, user(), assistant(), text(""), delta("Hel"), text("Hello", end=5))

    assert shown(chunks) == "Hello"


def test_resync_sends_only_what_is_missing():
    """After a gap the session is read anew; what was streamed is not repeated, and the steps are closed."""
    translation = Translation(session_id=SESSION, part_id=PART)
    before = feed(translation, user(), assistant(), text(""), delta("Hel"))
    messages = [
        {"info": {"id": "msg_u", "role": "user"}, "parts": [user()["properties"]["part"]]},
        {
            "info": assistant(completed=9)["properties"]["info"],
            "parts": [text("Hello", end=5)["properties"]["part"]],
        },
    ]

    after = translation.resync(messages) + translation.resync(messages)

    assert shown(before + after) == "Hello"
    assert [chunk["type"] for chunk in after] == ["text-delta", "text-end", "finish-step"]
    feed(translation, event("session.idle"))
    assert translation.finished


def test_model_error_ends_the_turn():
    """An error of the session is kept for the sentence, and idle ends the turn."""
    translation = Translation(session_id=SESSION, part_id=PART)

    feed(translation, user(), event("session.error", error={"data": {"statusCode": 401}}), event("session.idle"))

    assert translation.finished
    assert translation.error == {"data": {"statusCode": 401}}


def test_close_ends_what_is_open():
    """A turn that ends early leaves no open text and no open step behind."""
    translation = Translation(session_id=SESSION, part_id=PART)
    feed(translation, user(), assistant(), text(""), delta("Hel"))

    assert [chunk["type"] for chunk in translation.close()] == ["text-end", "finish-step"]
    assert translation.close() == []
    assert feed(translation, delta("lo")) == []


def test_merged_joins_neighbours_and_splits_what_is_long():
    """Order is kept; only deltas of one part that stand side by side are joined."""
    one = {"type": "text-delta", "id": "1", "delta": "a"}
    other = {"type": "text-delta", "id": "2", "delta": "b"}

    assert [one | {"delta": "aa"}, other, one] == merged([one, one, other, one])
    assert [chunk["delta"] for chunk in merged([one] * 6, limit=4)] == ["aaaa", "aa"]


def part(kind, part_id, text, *, end=None):
    return event(
        "message.part.updated",
        part={"id": part_id, "messageID": "msg_a", "type": kind, "text": text, "time": {"end": end}},
    )


def tool(status, *, name="bash", **state):
    return event(
        "message.part.updated",
        part={
            "id": "prt_tool",
            "messageID": "msg_a",
            "type": "tool",
            "tool": name,
            "callID": "call_1",
            "state": {"status": status, **state},
        },
    )


RUNNING = tool("running", input={"command": "ls"})
DONE = tool("completed", input={"command": "ls"}, output="a\nb\n", title="ls", metadata={"exit": 3, "truncated": False})


@pytest.fixture
def translation():
    translation = Translation(session_id=SESSION, part_id=PART)
    feed(translation, user(), assistant())
    return translation


def test_reasoning_is_told_from_text(translation):
    """Deltas look alike; the part they belong to says what they are."""
    chunks = feed(
        translation, part("reasoning", "prt_r", ""), delta("Hm", "prt_r"), part("reasoning", "prt_r", "Hm", end=1)
    )

    assert ["reasoning-start", "reasoning-delta", "reasoning-end"] == [chunk["type"] for chunk in chunks]
    assert {"type": "reasoning", "text": "Hm", "state": "done"} in translation.parts()


def test_tool_call_from_input_to_exit_code(translation):
    """Begin, input, running output, result with its exit code; the whole is stored."""
    output = {"output": "a\n"}
    chunks = feed(
        translation,
        tool("pending", input={}),
        RUNNING,
        tool("running", input={"command": "ls"}, metadata=output),
        DONE,
        DONE,
    )

    call = {"toolCallId": "prt_tool"}
    result = {"output": "a\nb\n", "title": "ls", "exit_code": 3}
    assert [
        {"type": "tool-input-start", **call, "toolName": "bash"},
        {"type": "tool-input-available", **call, "toolName": "bash", "input": {"command": "ls"}},
        {"type": "tool-output-available", **call, "output": output, "preliminary": True},
        {"type": "tool-output-available", **call, "output": result},
    ] == chunks
    assert {
        "type": "tool-bash",
        **call,
        "state": "output-available",
        "input": {"command": "ls"},
        "output": result,
    } in translation.parts()


def test_tool_error_is_shown_as_one(translation):
    """A call that failed has its error, and its input all the same."""
    chunks = feed(translation, tool("error", input={"filePath": "/x"}, error="File not found", name="read"))

    assert ["tool-input-start", "tool-input-available", "tool-output-error"] == [chunk["type"] for chunk in chunks]
    assert "File not found" == chunks[-1]["errorText"]


def test_long_output_is_stored_in_full(translation):
    """What a frame has no room for is in the message all the same; only what OpenCode cut itself is called that."""
    output = "a" * 50_000 + "end"
    chunks = feed(translation, RUNNING, tool("completed", input={}, output=output, metadata={}))

    assert {"output": output} == chunks[-1]["output"] == translation.parts()[-1]["output"]


def test_interrupted_tool_is_closed(translation):
    """A turn that ends leaves no call open."""
    feed(translation, tool("pending", input={}))

    assert ["tool-input-available", "tool-output-error", "finish-step"] == [c["type"] for c in translation.close()]
    assert [] == translation.close()


@pytest.mark.parametrize("early", [False, True], ids=["after its input", "before its input"])
def test_permission_is_asked_for_the_call(translation, early):
    """The user sees input and question in that order, whichever event came first."""
    asked = event("permission.asked", id="per_1", tool={"messageID": "msg_a", "callID": "call_1"})
    events = [tool("pending", input={}), asked, RUNNING] if early else [tool("pending", input={}), RUNNING, asked]

    chunks = feed(translation, *events)

    assert ["tool-input-start", "tool-input-available", "tool-approval-request"] == [c["type"] for c in chunks]
    assert {"type": "tool-approval-request", "toolCallId": "prt_tool", "approvalId": "per_1"} == chunks[-1]
    assert {"prt_tool": Ask(kind="permission", id="per_1")} == translation.asks


def test_refused_permission_denies_the_call(translation):
    """What the user refused is shown as refused, not as an error."""
    feed(translation, RUNNING, event("permission.asked", id="per_1", tool={"messageID": "msg_a", "callID": "call_1"}))
    chunks = feed(
        translation,
        event("permission.replied", requestID="per_1", reply="reject"),
        tool("error", input={"command": "ls"}, error="The user rejected permission"),
    )

    assert [{"type": "tool-output-denied", "toolCallId": "prt_tool"}] == chunks
    assert {} == translation.asks
    assert "output-denied" == translation.parts()[-1]["state"]


def test_question_waits_for_its_answer(translation):
    """A question is the input of its tool; nothing more is asked for."""
    chunks = feed(
        translation,
        tool("running", name="question", input={"questions": []}),
        event("question.asked", id="que_1", questions=[], tool={"messageID": "msg_a", "callID": "call_1"}),
    )

    assert "tool-input-available" == chunks[-1]["type"]
    assert {"prt_tool": Ask(kind="question", id="que_1")} == translation.asks
    feed(translation, event("question.replied", requestID="que_1"))
    assert {} == translation.asks


def retry(translation, *events):
    status = {"type": "retry", "attempt": 1, "message": "boom sk-secret", "next": 5}
    return feed(translation, event("session.status", status=status), *events)


def test_retry_repeats_nothing(translation):
    """OpenCode begins a failed try again in new parts; the user sees each word once, and never the vendor's message."""
    before = feed(translation, part("reasoning", "r1", "Hm", end=1), part("text", "t1", ""), delta("one two ", "t1"))
    after = retry(
        translation,
        part("reasoning", "r2", ""),
        delta("Hm", "r2"),
        part("reasoning", "r2", "Hm", end=2),
        part("text", "t2", ""),
        delta("one ", "t2"),
        delta("two ", "t2"),
        delta("three", "t2"),
        part("text", "t2", "one two three", end=3),
    )

    assert "Hmone two three" == shown(before + after)
    assert ["data-retry", "text-delta", "text-end"] == [chunk["type"] for chunk in after]
    assert "sk-secret" not in str(after)
    assert ["reasoning", "text"] == [part["type"] for part in translation.parts()[1:]]


def test_retry_that_says_something_else_loses_nothing(translation):
    """Where the second try goes another way, it is shown whole, in a part of its own."""
    feed(translation, part("text", "t1", ""), delta("one two ", "t1"))
    after = retry(translation, part("text", "t2", ""), delta("one ", "t2"), delta("four", "t2"))

    assert ["data-retry", "text-end", "text-start", "text-delta"] == [chunk["type"] for chunk in after]
    assert ["one two ", "one four"] == [part["text"] for part in translation.parts()[1:]]


def test_metadata_adds_up_over_steps(translation):
    """Usage of all steps, the last finish reason and the model."""
    for message_id, finish in (("msg_a", "tool-calls"), ("msg_b", "stop")):
        info = {
            "id": message_id,
            "role": "assistant",
            "parentID": "msg_u",
            "time": {"completed": 1},
            "tokens": {"input": 10, "output": 2, "reasoning": 1, "total": 13},
            "finish": finish,
            "providerID": "default",
            "modelID": "demo",
        }
        feed(translation, event("message.updated", info=info), event("message.updated", info=info))

    assert {
        "finishReason": "stop",
        "usage": {"inputTokens": 20, "outputTokens": 4, "reasoningTokens": 2, "totalTokens": 26},
        "model": "default/demo",
    } == translation.metadata()


def test_title_is_told_when_it_changes(translation):
    """The thread's title is the one that the model finds; until then there is none."""
    untitled = event("session.updated", info={"title": "New session - 2026-11-23T21:48:03.518Z"})
    titled = event("session.updated", info={"title": "A haiku"})

    assert [{"type": "data-thread", "data": {"title": "A haiku"}, "transient": True}] == feed(
        translation, untitled, titled, titled
    )


def test_replay_of_a_stored_answer_shows_the_same():
    """What was stored can be streamed again, under the same message id."""
    message = {
        "id": "asst_1",
        "metadata": {"finishReason": "stop"},
        "parts": [
            {"type": "step-start"},
            {"type": "reasoning", "text": "Hm", "state": "done"},
            {
                "type": "tool-bash",
                "toolCallId": "1",
                "state": "output-available",
                "input": {},
                "output": {"output": "x"},
            },
            {"type": "tool-read", "toolCallId": "2", "state": "output-error", "input": {}, "errorText": "no"},
            {"type": "tool-edit", "toolCallId": "3", "state": "output-denied", "input": {}, "approval": {"id": "p"}},
            {"type": "step-start"},
            {"type": "text", "text": "Hello", "state": "done"},
        ],
    }

    chunks = replayed(message)

    assert {"type": "start", "messageId": "asst_1"} == chunks[0]
    assert "HmHello" == shown(chunks)
    assert {"type": "finish", "messageMetadata": {"finishReason": "stop"}} == chunks[-1]
    kinds = [chunk["type"] for chunk in chunks]
    assert 2 == kinds.count("start-step") == kinds.count("finish-step")
    assert 3 == kinds.count("tool-input-available")
    assert ["tool-output-available", "tool-output-error", "tool-output-denied"] == [k for k in kinds if "output" in k]
