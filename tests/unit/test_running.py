"""What a turn's function does about a history that is cut while it runs, with a scripted OpenCode."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from chat.opencode import Line, SilentError
from chat.running import TurnRunner
from tests.fakes import FakeConnections, FakeControl, FakeDispatcher, FakeSession
from tests.operators import emitted, logged
from tests.unit.test_asking import SOCKET, Thread
from threadbox.control import Starting
from threadbox.sockets import Socket


@dataclass
class TalkingSession(FakeSession):
    """Says "Hello" to every prompt, and holds on until it is stopped if it is told to."""

    holds: bool = False
    prompts: list[tuple[str, str]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def prompt(self, access, *, part_id, text, model=""):
        self.prompts.append((access.session_id, text))
        self.part = part_id
        self.asked.set()
        return 1

    async def abort(self, access, *, part_id=None):
        self.stopped.set()

    async def events(self, access, *, after):
        def line(n, kind, **properties):
            return Line("event", n, {"type": kind, "properties": {"sessionID": access.session_id, **properties}})

        yield Line("cursor", 1, {})
        await self.asked.wait()
        question = {"id": self.part, "messageID": "u", "type": "text", "text": "hi"}
        text = {"id": "p", "messageID": "a", "type": "text", "text": "Hello"}
        info = {"id": "a", "role": "assistant", "parentID": "u", "time": {}}
        yield line(2, "message.part.updated", part=question)
        yield line(3, "message.updated", info=info)
        yield line(4, "message.part.updated", part=text)
        if self.holds:
            await self.stopped.wait()
        yield line(5, "message.part.updated", part={**text, "time": {"end": 1}})
        yield line(6, "message.updated", info={**info, "time": {"completed": 2}})
        yield line(7, "session.idle")
        await asyncio.Event().wait()


class Running(Thread):
    """A thread whose turns are run by the real runner."""

    def __init__(self, table, messages, turns, cuts, clock):
        super().__init__(table, messages, turns, cuts)
        self.clock = clock
        self.control = FakeControl()
        self.dispatcher = FakeDispatcher()
        self.connections = FakeConnections()
        for name in ("c1", "c2"):
            self.sockets.create(Socket(thread_id="t", connection_id=name, user_id="u"))

    def run(self, request_id, session, meanwhile=None, *, generation=1):
        self.control.generation = generation

        async def main():
            runner = TurnRunner(
                turns=self.turns,
                messages=self.messages,
                sockets=self.sockets,
                connections=self.connections,
                control=self.control,
                opencode=session,
                dispatcher=self.dispatcher,
                turn_seconds=60,
                ask_seconds=60,
                now=self.clock,
            )
            invocation = self.turns.find("t").invocation
            running = asyncio.create_task(runner.run("t", request_id, invocation=invocation, seconds=60))
            if meanwhile is not None:
                await asyncio.wait_for(session.asked.wait(), 20)
                await asyncio.to_thread(meanwhile)
            await asyncio.wait_for(running, 40)

        asyncio.run(main())

    def kinds(self, connection_id):
        """Return what came on one connection, in order: chunks by type, and the frames around them."""
        return [
            json.loads(frame["body"])["type"] if frame.get("body") else f"{frame['type'].rpartition('_')[2]}"
            for frame in self.connections.to(connection_id)
        ]


@pytest.fixture
def thread(table, messages, turns, cuts, clock):
    return Running(table, messages, turns, cuts, clock)


def test_turn_records_how_it_went(thread):
    """In the write that ends it: when the answer began, and how long it took."""
    thread.submit("r-one", "one")
    thread.run("r-one", TalkingSession())
    (item,) = [item for item in thread.table.scan()["Items"] if item["sk"] == "TURN#r-one"]

    assert ("completed", 0, 0) == (item["outcome"], item["ttft_ms"], item["duration_ms"])
    assert ["hi", "Hello"] == thread.texts()


def test_turn_is_told_operators_once(thread, output):
    """One line for its end, its metrics, and nothing of what was said."""
    thread.submit("r-one", "canary of a question")
    thread.run("r-one", TalkingSession())

    out = output()
    (line,) = logged(out, "turn ended")
    assert ("r-one", "completed") == (line["request_id"], line["outcome"])
    frames = len(thread.connections.posted)
    metrics = [found for found in emitted(out) if not found[0].endswith("Tokens")]
    assert [
        ("TimeToFirstToken", {"sandbox": "running"}, 0.0),
        ("Turns", {"outcome": "completed"}, 1.0),
        ("TurnFailures", {}, 0.0),
        ("FramesPosted", {}, float(frames)),
    ] == metrics
    assert "canary" not in out
    assert "Hello" not in out


def test_messages_are_shown_behind_the_last_chunk(thread):
    """An observer of the older generation would show a chunk that follows as one more message."""
    thread.submit("r-one", "one")
    thread.run("r-one", TalkingSession())

    assert ["finish", "messages", "response"] == thread.kinds("c2")[-3:]
    assert ["finish", "response"] == thread.kinds("c1")[-2:]


def test_older_client_that_stops_an_answer_is_shown_the_messages(thread):
    """It follows the rest of what it has called off as if it were somebody else's."""
    thread.sockets.note_older(SOCKET)
    thread.submit("r-one", "one")
    session = TalkingSession(holds=True)
    thread.run("r-one", session, meanwhile=lambda: thread.turns.cancel("t", "r-one"))

    assert ["messages", "response"] == thread.kinds("c1")[-2:]


def test_other_tabs_are_emptied_behind_the_last_frame_of_a_cleared_turn(thread):
    """The request ends for everybody, nothing of it is kept; then the others are emptied, and nothing follows."""
    thread.submit("r-one", "one")
    session = TalkingSession(holds=True)
    thread.run("r-one", session, meanwhile=lambda: thread.clearing.clear(SOCKET))

    assert ["response", "clear"] == thread.kinds("c2")[-2:]
    assert ["response"] == thread.kinds("c1")[-1:]
    assert "clear" not in thread.kinds("c1")
    assert "finish" not in thread.kinds("c1")
    assert "aborted" == thread.connections.to("c1")[-1]["outcome"]
    assert ([], []) == (thread.texts(), thread.keys("TURN#"))


def test_agent_forgets_what_was_cut_before_it_is_asked_again(thread):
    """Once: the turn after that has nothing to forget."""
    thread.talk("one", "two")
    thread.submit("r-edit", "two", "other")
    session = TalkingSession(["r-one", "r-two"])
    thread.run("r-edit", session)
    assert (["assistant-r-two", "user-r-two"], [("ses_1", "other")]) == (session.deleted, session.prompts)
    assert not thread.turns.find("t").context_is_stale

    thread.submit("r-three", "three")
    again = TalkingSession(["r-one", "r-edit"])
    thread.run("r-three", again)
    assert ([], [("ses_1", "hi")]) == (again.deleted, again.prompts)


def test_cleared_thread_is_talked_about_in_a_new_session(thread):
    """From its first question on, and in the same one from then on."""
    thread.talk("one")
    thread.clearing.clear(SOCKET)
    prompts, begun = [], 0
    for name, known in (("two", "r-one"), ("three", "r-two")):
        session = TalkingSession([known])
        thread.submit(f"r-{name}", name, name)
        thread.run(f"r-{name}", session)
        prompts += session.prompts
        begun += session.begun

    assert [("ses_new_1", "two"), ("ses_new_1", "three")] == prompts
    assert 1 == begun


def test_context_that_is_lost_is_said(thread):
    """The agent does not know what is left of the history, and the user is told with the answer."""
    thread.talk("one", "two")
    thread.submit("r-edit", "two", "other")
    thread.run("r-edit", TalkingSession([]))
    bodies = [json.loads(frame["body"]) for frame in thread.connections.to("c1") if frame.get("body")]

    assert [True] == [chunk["data"].get("context_lost") for chunk in bodies if chunk["type"] == "data-sandbox"]


@pytest.mark.parametrize(("restored", "lost"), [(["r-one", "r-two"], []), (["r-one"], [True]), ([], [True])])
def test_new_sandbox_is_asked_what_it_brought_back(thread, restored, lost):
    """The user is told only of a sandbox that does not know the whole conversation."""
    for name, known in (("one", []), ("two", ["r-one"])):
        thread.submit(f"r-{name}", name)
        thread.run(f"r-{name}", TalkingSession(known))
    thread.submit("r-three", "three")
    session = TalkingSession(restored)
    thread.run("r-three", session, generation=2)
    bodies = [json.loads(frame["body"]) for frame in thread.connections.to("c1") if frame.get("body")]

    assert lost == [chunk["data"].get("context_lost") for chunk in bodies if chunk["type"] == "data-sandbox"]
    assert ([], [("ses_1", "hi")]) == (session.deleted, session.prompts)


def test_what_was_cut_since_is_forgotten_by_what_a_new_sandbox_brought_back(thread):
    """It was saved before the cut, and the session that knew of the cut is gone with its sandbox."""
    thread.talk("one", "two")
    thread.submit("r-edit", "two", "other")
    thread.run("r-edit", TalkingSession(["r-one", "r-two"]))
    assert not thread.turns.find("t").context_is_stale
    thread.submit("r-three", "three")
    session = TalkingSession(["r-one", "r-two"])
    thread.run("r-three", session, generation=2)

    assert ["assistant-r-two", "user-r-two"] == session.deleted
    assert not thread.turns.find("t").context_is_stale


def test_edit_during_an_answer_is_answered_next(thread):
    """The running request ends, nothing of it is kept, other tabs see the edited question, and its turn is started."""
    thread.submit("r-one", "one")
    session = TalkingSession(holds=True)

    def edit():
        thread.submit("r-edit", "one", "other")
        session.stopped.set()

    thread.run("r-one", session, meanwhile=edit)

    assert ["other"] == thread.texts()
    assert [("t", "r-edit")] == thread.dispatcher.dispatched
    snapshots = [frame for frame in thread.connections.to("c2") if frame["type"] == "cf_agent_chat_messages"]
    assert ["other"] == [part["text"] for message in snapshots[-1]["messages"] for part in message["parts"]]


def told(thread, connection_id="c1"):
    """Return what one connection was told of the sandbox."""
    chunks = [json.loads(frame["body"]) for frame in thread.connections.to(connection_id) if frame.get("body")]
    return [chunk["data"] for chunk in chunks if chunk["type"] == "data-sandbox"]


def test_start_is_told_phase_by_phase_with_its_times(thread):
    """What each phase took is there as soon as the next one has begun, and all of it in the end."""
    thread.control.starting = [
        Starting(state="starting", detail="pulling", generation=1, phases={"requested": 90}),
        Starting(state="starting", detail="booting", generation=1, phases={"requested": 90, "pulling": 800}),
    ]
    thread.control.access = {"phases": {"requested": 90, "pulling": 800, "booting": 2000}}
    thread.submit("r-one", "one")
    thread.run("r-one", TalkingSession())

    assert [
        {"state": "starting", "detail": "pulling", "phases": {"requested": 90}},
        {"state": "starting", "detail": "booting", "phases": {"requested": 90, "pulling": 800}},
        {"state": "running", "detail": "ready", "phases": {"requested": 90, "pulling": 800, "booting": 2000}},
    ] == told(thread)


def test_user_is_warned_that_the_sandbox_is_old(thread):
    """With each answer, as long as it is nearly too old."""
    thread.control.access = {"ends_at": 1_800_000_600}
    thread.submit("r-one", "one")
    thread.run("r-one", TalkingSession())

    assert [{"state": "running", "detail": "ready", "ends_at": 1_800_000_600}] == told(thread)
    assert "start" == thread.kinds("c1")[0]


def test_message_that_meets_the_sandboxs_end_is_answered_by_the_next_one(thread):
    """It was not taken: whoever brought it says so, waits for the end, and asks the next sandbox, once."""

    class Ending(TalkingSession):
        async def prompt(self, access, **asked):
            if access.generation == 1:
                thread.control.starting = [
                    Starting(state="stopping", detail="ready", generation=1),
                    Starting(state="starting", detail="booting", generation=2),
                ]
                thread.control.generation = 2
                raise SilentError("The sandbox takes nothing just now.")
            return await super().prompt(access, **asked)

    session = Ending()
    thread.submit("r-one", "one")
    thread.run("r-one", session)

    assert [1] == thread.control.suspects
    assert ["hi"] == [text for _, text in session.prompts]
    assert ["stopping", "starting", "running"] == [said["state"] for said in told(thread)]
    assert ["hi", "Hello"] == thread.texts()
