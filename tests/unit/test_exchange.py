"""One question and its answer, with a scripted sandbox: breaks, gaps, Stop, and ends of every kind."""

import asyncio
from time import monotonic

import pytest

from chat.exchange import Exchange, HandoverError, Limits
from chat.opencode import Line, SilentError
from chat.outbox import Outbox
from chat.turn import Ask, Place
from threadbox.control import Access
from threadbox.errors import ModelError, ModelUnauthorizedError, OpenCodeError, SandboxLostError, StaleGenerationError

SESSION, PART = "ses_1", "prt_ours"
ACCESS = Access(url="http://sandbox", token="t", expires_in=900, generation=1, session_id=SESSION)


def line(n, kind, **properties):
    return Line("event", n, {"type": kind, "properties": {"sessionID": SESSION, **properties}})


def asked(n):
    return line(n, "message.part.updated", part={"id": PART, "messageID": "u", "type": "text", "text": "hi"})


def step(n, *, completed=None):
    info = {"id": "a", "role": "assistant", "parentID": "u", "time": {"completed": completed}}
    return line(n, "message.updated", info=info)


def text(n, whole, *, end=None):
    part = {"id": "p", "messageID": "a", "type": "text", "text": whole, "time": {"end": end}}
    return line(n, "message.part.updated", part=part)


def delta(n, piece):
    return line(n, "message.part.delta", messageID="a", partID="p", field="text", delta=piece)


def idle(n):
    return line(n, "session.idle")


CURSOR = Line("cursor", 7, {})
BEGIN = [CURSOR, asked(8), step(9), text(10, "")]
END = [text(13, "Hello", end=1), step(14, completed=2), idle(15)]


class ScriptedSandbox:
    """Serves one script of lines per connection; None stands for waiting, an exception for a break."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.answers = bool(scripts) and scripts[0][0] is CURSOR
        self.after = []
        self.aborts = 0
        self.prompts = []
        self.replies = []
        self.stored = []
        self.aborted = asyncio.Event()
        self.asked = asyncio.Event()
        self.remembered = []
        self.told = []
        self.shown_when_told = []
        self.noted = []
        self.refuses = []
        self.begun = 0
        self.caught_up_at = None

    def caught_up(self):
        self.caught_up_at = len(self.remembered)

    async def events(self, access, *, after):
        self.after.append(after)
        for each in self.scripts.pop(0) if self.scripts else [SilentError("gone")]:
            if each is not CURSOR and self.answers:
                await self.asked.wait()
            if isinstance(each, Exception):
                raise each
            if each is None:
                await self.aborted.wait()
            else:
                yield each
        await asyncio.Event().wait()

    async def reply(self, access, ask, answer):
        self.replies.append((ask.id, answer))

    async def prompt(self, access, *, part_id, text, model=""):
        if self.refuses:
            raise self.refuses.pop()
        self.prompts.append((part_id, text))
        self.asked.set()
        return CURSOR.n

    async def abort(self, access, *, part_id=None):
        self.aborts += 1
        self.aborted.set()

    async def messages(self, access):
        return self.stored


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr("chat.exchange.RECONNECT_PAUSE", 0)


def run(sandbox, *, cancel=False, lend=lambda: ACCESS, turn=30.0, function=30.0, after=None, **options):
    """Return the outcome, the chunks that were sent, and the exchange."""
    chunks = []

    async def main():
        cancelled = asyncio.Event()
        if cancel:
            cancelled.set()

        async def on_asked():
            sandbox.begun += 1

        async def on_asks(asks):
            sandbox.told.append(dict(asks))
            sandbox.shown_when_told.append([chunk["type"] for chunk in chunks])

        async def note(place):
            sandbox.noted.append(place)

        now = monotonic()
        exchange = Exchange(
            client=sandbox,
            access=ACCESS,
            lend=lend,
            part_id=PART,
            outbox=Outbox(send=chunks.append, note=note),
            remember=sandbox.remembered.append,
            caught_up=sandbox.caught_up,
            on_asked=on_asked,
            on_asks=on_asks,
            cancelled=cancelled,
            limits=Limits(turn_until=now + turn, function_until=now + function, ask_seconds=900),
            **options,
        )
        sandbox.exchange = exchange
        answer = exchange.ask("hi", model="") if exchange.first is None else exchange.resume()
        outcome = await asyncio.wait_for(answer, 20)
        if after is not None:
            await after()
        return outcome

    return asyncio.run(main()), chunks


def shown(chunks):
    return "".join(chunk.get("delta", "") for chunk in chunks)


def test_answer_is_passed_on_whole():
    """Every delta arrives once, in order, and everything that was opened is closed."""
    sandbox = ScriptedSandbox([*BEGIN, delta(11, "Hel"), delta(12, "lo"), *END])

    outcome, chunks = run(sandbox)

    assert (outcome, shown(chunks)) == ("completed", "Hello")
    assert (sandbox.prompts, sandbox.begun) == ([(PART, "hi")], 1)
    assert [chunk["type"] for chunk in chunks[:2]] == ["start-step", "text-start"]
    assert [chunk["type"] for chunk in chunks[-2:]] == ["text-end", "finish-step"]


def test_first_delta_is_sent_at_once_and_the_rest_is_merged():
    """A thousand deltas in a burst are a handful of frames."""
    burst = [delta(11 + n, "x") for n in range(1000)]
    _, chunks = run(
        ScriptedSandbox([*BEGIN, *burst, text(2000, "x" * 1000, end=1), step(2001, completed=2), idle(2002)])
    )

    assert shown(chunks) == "x" * 1000
    assert len([chunk for chunk in chunks if chunk["type"] == "text-delta"]) < 20


def test_broken_stream_goes_on_behind_the_last_number():
    """Nothing is lost or doubled when the connection breaks and the log is read on."""
    sandbox = ScriptedSandbox(
        [*BEGIN, delta(11, "Hel"), SilentError("reset")], [Line("cursor", 12, {}), delta(12, "lo"), *END]
    )

    outcome, chunks = run(sandbox)

    assert (outcome, shown(chunks)) == ("completed", "Hello")
    assert sandbox.after == [CURSOR.n, 11]


def test_gap_is_made_up_from_the_session():
    """When events fell out of the log, the session's messages tell what is missing."""
    sandbox = ScriptedSandbox([*BEGIN, delta(11, "Hel"), Line("gap", 14, {}), idle(15)])
    sandbox.stored = [
        {"info": {"id": "u", "role": "user"}, "parts": [asked(0).event["properties"]["part"]]},
        {
            "info": step(0, completed=2).event["properties"]["info"],
            "parts": [text(0, "Hello", end=1).event["properties"]["part"]],
        },
    ]

    outcome, chunks = run(sandbox)

    assert (outcome, shown(chunks)) == ("completed", "Hello")


def test_stop_keeps_what_was_said():
    """Stop aborts the agent once; the text so far stays, and the answer ends as aborted."""
    sandbox = ScriptedSandbox([*BEGIN, delta(11, "Hel"), None, step(12, completed=2), idle(13)])

    outcome, chunks = run(sandbox, cancel=True)

    assert (outcome, shown(chunks), sandbox.aborts) == ("aborted", "Hel", 1)
    assert "text-end" in [chunk["type"] for chunk in chunks]


def test_abort_from_outside_is_no_error():
    """Stop may reach OpenCode before the turn knows of it: the answer ends as aborted all the same."""
    aborted = {"name": "MessageAbortedError", "data": {"message": "Aborted"}}
    sandbox = ScriptedSandbox(
        [*BEGIN, delta(11, "Hel"), line(12, "session.error", error=aborted), step(13, completed=2), idle(14), idle(15)]
    )

    outcome, chunks = run(sandbox)

    assert ("aborted", "Hel") == (outcome, shown(chunks))


def test_sandbox_that_dies_after_the_question_is_said_so():
    """The answer ends with a sentence; the question is not asked a second time."""
    sandbox = ScriptedSandbox([*BEGIN, delta(11, "Hel"), SilentError("reset")])

    with pytest.raises(SandboxLostError, match="Send your message again"):
        run(sandbox)

    assert len(sandbox.prompts) == 1


def test_sandbox_that_was_replaced_is_not_waited_for():
    """When the generation is over there is nothing to reconnect to."""

    def gone():
        raise StaleGenerationError("gone")

    sandbox = ScriptedSandbox([*BEGIN, SilentError("reset")])
    with pytest.raises(SandboxLostError):
        run(sandbox, lend=gone)
    assert len(sandbox.after) == 1


def test_sandbox_that_does_not_answer_was_not_asked():
    """Before the question nothing is lost: the caller may take another sandbox."""
    sandbox = ScriptedSandbox()
    sandbox.refuses = [SilentError("refused")]
    with pytest.raises(SilentError):
        run(sandbox)
    assert sandbox.prompts == []


def test_model_error_is_told_without_the_vendors_words():
    """The status is shown, the vendor's text is not."""
    error = {"name": "APIError", "data": {"statusCode": 401, "message": "sk-secret is wrong"}}
    sandbox = ScriptedSandbox([CURSOR, asked(8), line(9, "session.error", error=error), idle(10), idle(11)])

    with pytest.raises(ModelUnauthorizedError, match=r"refused the key \(401\)") as caught:
        run(sandbox)

    assert "sk-secret" not in str(caught.value)


def test_model_that_never_says_anything_is_given_up():
    """OpenCode asks again for ever when answers are empty: after the third the agent is stopped and the user told."""

    def empty(n, number):
        times = ({}, {"completed": 2})
        infos = [{"id": f"a{number}", "role": "assistant", "parentID": "u", "time": time} for time in times]
        return [line(n + i, "message.updated", info=info) for i, info in enumerate(infos)]

    sandbox = ScriptedSandbox([CURSOR, asked(8), *empty(9, 1), *empty(11, 2), *empty(13, 3), *empty(15, 4), None])

    with pytest.raises(ModelError, match="no answer"):
        run(sandbox)

    assert sandbox.aborts == 1


def status(n, kind):
    return line(n, "session.status", status={"type": kind})


def test_question_that_was_let_go_is_said_so(monkeypatch):
    """An abort for the turn before may hit a question before OpenCode is at work on it: it is idle, nothing follows."""
    monkeypatch.setattr("chat.exchange.LET_GO_SECONDS", 0)
    monkeypatch.setattr("chat.exchange.TICK", 0.05)
    with pytest.raises(OpenCodeError, match="before it began"):
        run(ScriptedSandbox([CURSOR, asked(8), status(9, "idle"), idle(10), None]))


@pytest.mark.parametrize("sign", [status(11, "busy"), step(11)], ids=["busy", "a step"])
def test_late_end_of_the_turn_before_lets_nothing_go(monkeypatch, sign):
    """What follows it shows that OpenCode is at work on the question."""
    monkeypatch.setattr("chat.exchange.LET_GO_SECONDS", 0)
    sandbox = ScriptedSandbox([CURSOR, asked(8), status(9, "idle"), idle(10), sign, step(12), text(12, ""), *END])

    outcome, chunks = run(sandbox)

    assert ("completed", "Hello") == (outcome, shown(chunks))


def test_answer_that_takes_too_long_is_ended():
    """The function's time is bounded: the agent is stopped and the user told."""
    sandbox = ScriptedSandbox([*BEGIN, None])
    with pytest.raises(OpenCodeError, match="too long"):
        run(sandbox, turn=0.0)
    assert sandbox.aborts == 1


def permission(n):
    return line(n, "permission.asked", id="per_1", tool={"messageID": "a", "callID": "c"})


def tool(n, status, **state):
    part = {"id": "prt_t", "messageID": "a", "type": "tool", "tool": "bash", "callID": "c"}
    return line(n, "message.part.updated", part={**part, "state": {"status": status, "input": {}, **state}})


def test_what_the_agent_waits_for_is_told(clock):
    """An open permission is written down with its time, and struck out when it is answered."""
    replied = line(13, "permission.replied", requestID="per_1", reply="once")
    done = [tool(14, "completed", output="x"), step(15, completed=2), idle(16)]
    sandbox = ScriptedSandbox([*BEGIN, tool(11, "running"), permission(12), replied, *done])

    run(sandbox, now=clock)

    (asked, answered) = sandbox.told
    assert ("per_1", int(clock.time)) == (asked["prt_t"].id, asked["prt_t"].asked_at)
    assert {} == answered


def test_what_is_asked_is_written_down_before_it_is_shown():
    """Whoever sees that the agent waits may answer at once, and must not hear that nobody waits."""
    done = [tool(13, "completed", output="x"), step(14, completed=2), idle(15)]
    sandbox = ScriptedSandbox([*BEGIN, tool(11, "running"), permission(12), *done])

    _, chunks = run(sandbox)

    assert "tool-approval-request" in [chunk["type"] for chunk in chunks]
    assert "tool-approval-request" not in sandbox.shown_when_told[0]


@pytest.mark.parametrize("answered_meanwhile", [False, True])
def test_ask_that_nobody_answers_is_refused_once(clock, answered_meanwhile):
    """After its time the agent is told no, and goes on without; that it waits no longer does not matter."""

    class Impatient(ScriptedSandbox):
        async def reply(self, access, ask, answer):
            await super().reply(access, ask, answer)
            self.aborted.set()
            if answered_meanwhile:
                raise OpenCodeError("It waits no longer.")

    sandbox = Impatient(
        [
            *BEGIN,
            tool(11, "running"),
            permission(12),
            None,
            tool(13, "error", error="no"),
            step(14, completed=2),
            idle(15),
        ]
    )

    def later():
        clock.time += 500
        return clock.time

    run(sandbox, now=later)

    assert [("per_1", False)] == sandbox.replies


def test_handover_leaves_the_answer_open_for_the_next():
    """When the function's time is over nothing is closed and nothing aborted; the cursor says how far it came."""
    sandbox = ScriptedSandbox([*BEGIN, delta(11, "Hel"), None])
    with pytest.raises(HandoverError):
        run(sandbox, function=0.3)

    assert (7, Place(11), 0) == (sandbox.exchange.first, sandbox.exchange.cursor, sandbox.aborts)


def test_resumed_answer_sends_only_what_lies_behind_the_cursor():
    """The successor reads from the beginning, keeps what was sent for late tabs, and sends the rest once."""
    sandbox = ScriptedSandbox([Line("cursor", 12, {}), *BEGIN[1:], delta(11, "Hel"), delta(12, "lo"), *END])

    outcome, chunks = run(sandbox, first=7, cursor=Place(11))

    assert ("completed", "lo", "Hel") == (outcome, shown(chunks), shown(sandbox.remembered))
    assert [7] == sandbox.after
    assert [] == sandbox.prompts
    assert ["start-step", "text-start", "text-delta"] == [chunk["type"] for chunk in sandbox.remembered]
    assert 3 == sandbox.caught_up_at
    assert ["text-end", "finish-step"] == [chunk["type"] for chunk in chunks[-2:]]


def test_answer_that_had_not_begun_is_resumed_from_its_beginning():
    """When nothing was passed on before there is nothing to catch up with."""
    sandbox = ScriptedSandbox([Line("cursor", 12, {}), *BEGIN[1:], delta(11, "Hel"), delta(12, "lo"), *END])

    outcome, chunks = run(sandbox, first=7, cursor=Place(7))

    assert ("completed", "Hello", 0) == (outcome, shown(chunks), sandbox.caught_up_at)


def test_resumed_answer_with_a_gap_behind_the_cursor_is_passed_on():
    """What a successor finds out from the session's messages is sent, unless it was sent before."""
    sandbox = ScriptedSandbox([Line("cursor", 12, {}), *BEGIN[1:], delta(11, "Hel"), Line("gap", 20, {}), idle(21)])
    sandbox.stored = [
        {"info": {"id": "u", "role": "user"}, "parts": [asked(0).event["properties"]["part"]]},
        {
            "info": step(0, completed=2).event["properties"]["info"],
            "parts": [text(0, "Hello", end=1).event["properties"]["part"]],
        },
    ]

    outcome, chunks = run(sandbox, first=7, cursor=Place(11))

    assert ("completed", "lo", "Hel") == (outcome, shown(chunks), shown(sandbox.remembered))


def test_resumed_answer_keeps_what_the_agent_waits_for(clock):
    """A handover neither strikes out an open ask nor gives it its time anew."""
    waiting = Ask(kind="permission", id="per_1", asked_at=int(clock.time) - 100)
    log = [*BEGIN[1:], tool(11, "running"), permission(12)]
    done = [tool(14, "completed", output="x"), step(15, completed=2), idle(16)]
    replied = line(13, "permission.replied", requestID="per_1", reply="once")
    sandbox = ScriptedSandbox([Line("cursor", 16, {}), *log, replied, *done])

    run(sandbox, now=clock, first=7, cursor=Place(12), asks={"prt_t": waiting})

    assert [{}] == sandbox.told


def test_answer_goes_on_in_the_middle_of_an_event():
    """What one event adds may be several frames, of which the function before got through only some."""
    whole = text(10, "Hello", end=1)
    sandbox = ScriptedSandbox([Line("cursor", 12, {}), asked(8), step(9), whole, step(14, completed=2), idle(15)])

    outcome, chunks = run(sandbox, first=7, cursor=Place(10, 1), lost=True)

    assert "completed" == outcome
    assert ["start-step", "text-start"] == [chunk["type"] for chunk in sandbox.remembered]
    assert ["text-delta", "text-end", "finish-step"] == [chunk["type"] for chunk in chunks]


def test_end_of_a_part_is_not_sent_twice():
    """A client takes a frame twice, but not the end of a part: where that may have been posted it is left out."""
    sandbox = ScriptedSandbox([Line("cursor", 12, {}), *BEGIN[1:], delta(11, "Hello"), *END])

    outcome, chunks = run(sandbox, first=7, cursor=Place(11), lost=True)

    assert ("completed", ["finish-step"]) == (outcome, [chunk["type"] for chunk in chunks])
    assert "text-end" == sandbox.remembered[-1]["type"]


def test_what_follows_the_last_event_has_places_of_its_own():
    """A function that died after it had closed what was open is not followed by one that closes it again."""
    sandbox = ScriptedSandbox([Line("cursor", 12, {}), *BEGIN[1:], delta(11, "Hello"), *END])

    async def finish():
        await sandbox.exchange.finish({"type": "finish"})

    outcome, chunks = run(sandbox, first=7, cursor=Place(16, 1), lost=True, after=finish)

    assert ("completed", []) == (outcome, chunks)
    assert "finish" == sandbox.remembered[-1]["type"]


def test_question_is_asked_again_after_a_death():
    """Whether it was asked before is sandboxd's to know, and so where in the log its answer begins."""
    sandbox = ScriptedSandbox([CURSOR, asked(8), step(9), text(10, "Hello", end=1), step(14, completed=2), idle(15)])

    outcome, chunks = run(sandbox)

    assert ("completed", "Hello", [CURSOR.n]) == (outcome, shown(chunks), sandbox.after)
    assert [(PART, "hi")] == sandbox.prompts
