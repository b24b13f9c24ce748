"""What a socket's frames do, on real stores; Lambda and @connections are played."""

import json

import pytest

from chat.asking import Asking
from chat.attachments import AttachmentStore
from chat.claims import LEASE
from chat.clearing import Clearing
from chat.conversation import Conversation
from chat.messages import UIMessage
from chat.recovery import Recovery
from chat.returning import Returning
from chat.routes import SocketRoutes
from chat.turn import Ask, Attachment, TurnState
from chat.turns import TAKEOVERS, TurnStore
from tests.fakes import FakeAgent, FakeAudit, FakeConnections, FakeDispatcher, begin, secret, session
from threadbox.errors import AppError, RateLimitedError
from threadbox.sessions import SessionVerifier
from threadbox.sockets import OPENING_SECONDS, SocketBroadcast, SocketStore
from threadbox.threads import ThreadStore

KEY = {"kid": "k", "key": "s" * 64}


class World:
    """The socket routes over one table."""

    def __init__(self, table, clock, messages, cuts):
        self.audit = FakeAudit()
        self.connections = FakeConnections()
        self.dispatcher = FakeDispatcher()
        self.turns = TurnStore(table=table, now=clock)
        self.messages = messages
        self.sockets = SocketStore(table=table, now=clock)
        self.agent = FakeAgent()
        broadcast = SocketBroadcast(store=self.sockets, connections=self.connections, now=clock)
        self.recovery = Recovery(
            turns=self.turns,
            messages=self.messages,
            broadcast=broadcast,
            dispatcher=self.dispatcher,
            agent=self.agent,
            now=clock,
        )
        self.routes = SocketRoutes(
            conversation=Conversation(
                sessions=SessionVerifier(secret=secret(KEY)),
                threads=ThreadStore(table=table, now=clock),
                sockets=self.sockets,
                connections=self.connections,
                broadcast=broadcast,
                messages=self.messages,
                turns=self.turns,
                attachments=AttachmentStore(table=table),
                asking=Asking(messages=messages, turns=self.turns, cuts=cuts, per_minute=30),
                clearing=Clearing(
                    table=table,
                    messages=messages,
                    turns=self.turns,
                    cuts=cuts,
                    agent=self.agent,
                    broadcast=broadcast,
                ),
                dispatcher=self.dispatcher,
                recovery=self.recovery,
                agent=self.agent,
                audit=self.audit,
            )
        )

    def connect(self, connection_id, thread="t", user="u", **query):
        token = session(KEY, thread=thread, user=user)
        return self.event("$connect", connection_id, queryStringParameters={"thread": thread, "token": token, **query})

    def send(self, connection_id, frame):
        body = frame if isinstance(frame, str) else json.dumps(frame)
        return self.event("$default", connection_id, body=body)

    def ask(self, connection_id, request_id, text="hi", message_id=None):
        message = {"id": message_id or f"m-{request_id}", "role": "user", "parts": [{"type": "text", "text": text}]}
        body = json.dumps({"messages": [message], "trigger": "submit-message"})
        frame = {"type": "cf_agent_use_chat_request", "id": request_id, "init": {"method": "POST", "body": body}}
        return self.send(connection_id, frame)

    def event(self, route, connection_id, **fields):
        return self.routes.handle({"requestContext": {"routeKey": route, "connectionId": connection_id}, **fields})[
            "statusCode"
        ]


@pytest.fixture
def world(table, clock, messages, cuts):
    world = World(table, clock, messages, cuts)
    assert world.connect("c1") == 200
    return world


def test_connect_needs_a_token_for_the_thread(world):
    """No token, a bad thread id, another user's thread: the handshake is refused."""
    assert world.event("$connect", "c2") == 401
    assert world.event("$connect", "c2", queryStringParameters={"thread": "t", "token": "x"}) == 401
    assert world.event("$connect", "c2", queryStringParameters={"thread": "a/b", "token": "x"}) == 401
    assert world.connect("c2", user="somebody else") == 403
    assert [socket.connection_id for socket in world.sockets.list("t")] == ["c1"]
    assert [("socket_opened", "t", "u", {})] == world.audit.lines


def test_question_is_stored_and_its_turn_dispatched(world):
    """One frame: one message, one turn, one invoke; the same frame again: nothing more."""
    world.ask("c1", "r1")
    world.ask("c1", "r1")

    assert [message.id for message in world.messages.list("t")] == ["m-r1"]
    assert world.dispatcher.dispatched == [("t", "r1")]
    assert world.connections.posted == []


def test_question_asked_again_runs_again(world):
    """A known message under a new request id is answered anew, and stored once."""
    world.ask("c1", "r1", message_id="m")
    world.turns.end(begin(world.turns, "t", "r1"), "error")
    world.ask("c1", "r2", message_id="m")

    assert [message.id for message in world.messages.list("t")] == ["m"]
    assert world.dispatcher.dispatched == [("t", "r1"), ("t", "r2")]


def test_question_during_an_answer_stops_it(world):
    """The running answer is called off, and a request pushed out of the waiting place is ended at once."""
    world.ask("c1", "r1")
    world.ask("c1", "r2")
    world.ask("c1", "r3")

    assert world.agent.aborted == ["r1", "r1"]
    assert [(f["id"], f["done"], f["outcome"]) for f in world.connections.to("c1")] == [("r2", True, "aborted")]
    assert world.dispatcher.dispatched == [("t", "r1")]


def test_question_that_lambda_refuses_ends_with_an_error(world):
    """A request id always ends, also when its turn could not be started."""

    def refuse(thread_id, request_id, invocation):
        raise RateLimitedError("Too much is going on just now.")

    world.dispatcher.dispatch = refuse
    world.ask("c1", "r1")

    (frame,) = world.connections.to("c1")
    assert (
        frame["id"],
        frame["done"],
        frame["error"],
        frame["body"],
    ) == ("r1", True, True, "Too much is going on just now.")
    assert world.turns.find("t").state == TurnState.ENDED


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_request"),
        ("[]", "invalid_request"),
        ("[" * 100_000, "invalid_request"),
        ({"type": "cf_agent_chat_request_cancel"}, "invalid_request"),
        ({"type": "cf_agent_chat_request_cancel", "id": "\ud800"}, "invalid_request"),
        ({"type": "cf_agent_stream_resume_request", "probeId": 7}, "invalid_request"),
    ],
    ids=["not JSON", "not an object", "too deep", "no id", "not text", "wrong type"],
)
def test_bad_frame_is_answered(world, frame, code):
    """What cannot be read gets an answer that says so, and changes nothing."""
    assert world.send("c1", frame) == 200
    assert [("error", code)] == [(f["type"], f["code"]) for f in world.connections.to("c1")]


def test_bad_question_ends_its_request(world):
    """A chat request that cannot be answered ends with an error a person understands."""
    world.ask("c1", "r1", text="  ")
    world.ask("c1", "r2", text="x" * 30_000)
    world.send("c1", {"type": "cf_agent_use_chat_request", "id": "r3", "init": {"body": "not JSON"}})

    assert [(f["id"], f["error"]) for f in world.connections.to("c1")] == [("r1", True), ("r2", True), ("r3", True)]
    assert [] == world.dispatcher.dispatched == world.messages.list("t")


def test_unknown_frames_are_passed_over(world):
    """Other parts of the clients' protocol are none of our business."""
    assert world.send("c1", {"type": "cf_agent_mcp_servers"}) == 200
    assert world.connections.posted == []


def test_frame_on_a_forgotten_socket_is_refused(world):
    """After $disconnect, or a revocation, nothing is accepted."""
    world.event("$disconnect", "c1")
    world.event("$disconnect", "c1")
    assert world.ask("c1", "r1") == 401


def test_resume_request_of_an_idle_thread(world):
    """Nothing is under way: said at once, with the probe's id."""
    world.send("c1", {"type": "cf_agent_stream_resume_request", "probeId": "p"})
    assert world.connections.to("c1") == [{"type": "cf_agent_stream_resume_none", "reason": "idle", "probeId": "p"}]


def test_resume_request_during_a_turn_is_left_to_its_function(world):
    """Only whoever writes the answer to a socket can tell when it is to be offered: here it is noted."""
    world.connect("c2")
    world.ask("c1", "r1")
    for connection_id in ("c1", "c2"):
        world.send(connection_id, {"type": "cf_agent_stream_resume_request", "probeId": "p"})
    world.send("c2", {"type": "cf_agent_stream_resume_ack", "id": "r1"})

    assert world.connections.posted == []
    attachments = world.turns.find("t").attachments
    assert attachments == {"c1": Attachment(probe="p"), "c2": Attachment(acked=True)}


def test_what_was_answered_is_struck_out(world):
    """A turn that begins later does not answer again, and nothing that was asked of one turn is left to the next."""
    world.send("c1", {"type": "cf_agent_stream_resume_request", "probeId": "p"})
    world.ask("c1", "r1")
    first = begin(world.turns, "t", "r1")
    assert first.attachments == {}

    world.send("c1", {"type": "cf_agent_stream_resume_request", "probeId": "p"})
    assert world.turns.end(first, "completed") is None, "it has not seen the question"
    world.turns.end(world.turns.renew(first), "completed")
    world.ask("c1", "r2")

    assert begin(world.turns, "t", "r2").attachments == {}


def test_ack_after_the_end_replays_the_stored_answer(world):
    """Who attaches too late gets the whole answer from the store, and its end."""
    world.ask("c1", "r1")
    turn = begin(world.turns, "t", "r1")
    parts = [{"type": "step-start"}, {"type": "text", "text": "Hello", "state": "done"}]
    world.messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    world.turns.end(turn, "completed")

    world.send("c1", {"type": "cf_agent_stream_resume_ack", "id": "r1"})
    world.send("c1", {"type": "cf_agent_stream_resume_ack", "id": "unknown"})

    *chunks, last, unknown = world.connections.to("c1")
    assert "".join(json.loads(f["body"]).get("delta", "") for f in chunks) == "Hello"
    assert all(f["replay"] for f in chunks)
    assert (last["done"], last["outcome"]) == (True, "completed")
    assert (unknown["id"], unknown["done"]) == ("unknown", True)


def test_client_that_was_cut_off_is_offered_the_answer_that_has_ended(world):
    """It would take the part it has for the whole; once it has got all of it, it is not offered it again."""
    world.ask("c1", "r1")
    turn = begin(world.turns, "t", "r1")
    parts = [{"type": "text", "text": "Hello", "state": "done"}]
    world.messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    assert world.turns.end(turn, "completed", cut_off=frozenset({"page-1", "page-2"})) is not None
    for connection_id, client in (("c2", "page-1"), ("c3", "page-3"), ("c4", "page 1")):
        world.connect(connection_id, _pk=client)
        world.send(connection_id, {"type": "cf_agent_stream_resume_request", "probeId": "p"})
    assert [frame["type"] for frame in world.connections.to("c2")] == ["cf_agent_stream_resuming"]
    none = ["cf_agent_stream_resume_none"]
    assert none == [f["type"] for f in world.connections.to("c3")] == [f["type"] for f in world.connections.to("c4")]

    world.send("c2", {"type": "cf_agent_stream_resume_ack", "id": "r1"})
    world.send("c2", {"type": "cf_agent_stream_resume_request", "probeId": "q"})
    assert (True, none[0]) == (world.connections.to("c2")[-2]["done"], world.connections.to("c2")[-1]["type"])
    assert world.turns.find("t").cut_off == {"page-2"}
    world.ask("c1", "r2")
    assert begin(world.turns, "t", "r2").cut_off == frozenset()


@pytest.fixture
def returning(world, table, clock):
    return Returning(
        sockets=world.sockets,
        turns=world.turns,
        messages=world.messages,
        attachments=AttachmentStore(table=table),
        connections=world.connections,
        now=clock,
        pause=lambda seconds: setattr(clock, "time", clock.time + seconds),
    )


def test_client_that_never_asks_is_given_the_answer_that_has_ended(world, returning):
    """Once it would have asked: the messages, and the end that it waits for. Those that ask are offered it instead."""
    world.ask("c1", "r1")
    turn = begin(world.turns, "t", "r1")
    parts = [{"type": "text", "text": "Hello", "state": "done"}]
    world.messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    world.turns.end(turn, "completed", cut_off=frozenset({"page-1", "page-2"}))
    for connection_id, client in (("c2", "page-1"), ("c3", "page-2"), ("c4", "page-3")):
        world.connect(connection_id, _pk=client)
    assert ["c2", "c3"] == world.dispatcher.returned

    world.send("c3", {"type": "cf_agent_stream_resume_request", "probeId": "p"})
    for connection_id in ("c2", "c2", "c3", "gone"):
        returning.see_to("t", "r1", connection_id)

    assert ["cf_agent_stream_resuming"] == [frame["type"] for frame in world.connections.to("c3")]
    messages, done = world.connections.to("c2")
    assert ["hi", "Hello"] == [message["parts"][0]["text"] for message in messages["messages"]]
    assert ("r1", True, "completed") == (done["id"], done["done"], done["outcome"])


def test_client_that_never_asks_hears_of_the_end_when_another_answer_has_begun(world, returning):
    """The messages are that one's business; the end of the one before is nobody else's."""
    world.ask("c1", "r1")
    world.turns.end(begin(world.turns, "t", "r1"), "aborted", cut_off=frozenset({"page-1"}))
    world.connect("c2", _pk="page-1")
    world.ask("c1", "r2")
    returning.see_to("t", "r1", "c2")

    (done,) = world.connections.to("c2")
    assert ("r1", True, "aborted") == (done["id"], done["done"], done["outcome"])


def test_older_clients_are_known_by_what_they_ask(world):
    """They say where the request would have gone."""
    world.connect("c2")
    for connection_id, more in (("c1", {}), ("c2", {"url": "https://example.com"})):
        message = {"id": f"m-{connection_id}", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
        init = {"body": json.dumps({"messages": [message]})}
        world.send(connection_id, {"type": "cf_agent_use_chat_request", "id": connection_id, "init": init, **more})

    assert {"c1": False, "c2": True} == {socket.connection_id: socket.older for socket in world.sockets.list("t")}


def test_cancel_reaches_the_running_turn_only(world):
    """Stop is a flag for whoever runs the turn, and an abort; of anything else nothing changes."""
    world.ask("c1", "r1")
    world.send("c1", {"type": "cf_agent_chat_request_cancel", "id": "another"})
    assert not world.turns.find("t").cancel
    world.send("c1", {"type": "cf_agent_chat_request_cancel", "id": "r1"})
    assert world.turns.find("t").cancel
    assert world.agent.aborted == ["r1"]


def die(world, clock, request_id="r1"):
    """Let as many functions of the turn die as may."""
    for _ in range(TAKEOVERS):
        begin(world.turns, "t", request_id)
        clock.time += LEASE + 1
        world.recovery.sweep()


def test_dead_turn_goes_on(world, clock):
    """The schedule finds it and starts another function, once; nobody is told anything."""
    world.ask("c1", "r1")
    first = begin(world.turns, "t", "r1")
    world.recovery.sweep()
    assert world.dispatcher.dispatched == [("t", "r1")], "the lease still holds"

    clock.time += LEASE + 1
    world.recovery.sweep()
    world.recovery.sweep()

    assert world.dispatcher.dispatched == [("t", "r1")] * 2
    assert world.turns.renew(first) is None
    second = begin(world.turns, "t", "r1")
    assert (True, 1, second.invocation) == (second.lost, second.takeovers, world.dispatcher.invocations[-1])
    assert world.connections.posted == []


def test_report_of_a_failure_counts_for_its_invocation(world):
    """Lambda repeats it and reorders it; whoever took over meanwhile is left alone."""
    world.ask("c1", "r1")
    first = begin(world.turns, "t", "r1")
    world.recovery.go_on("t", "r1", failed=first.invocation)
    world.recovery.go_on("t", "r1", failed=first.invocation)
    second = begin(world.turns, "t", "r1")
    world.recovery.go_on("t", "r1", failed=first.invocation)

    assert world.dispatcher.dispatched == [("t", "r1")] * 2
    assert world.turns.renew(second).takeovers == 1
    assert world.turns.start("t", "r1", invocation=first.invocation) is None


@pytest.mark.parametrize("met_by", ["a probe", "a message"])
def test_dead_turn_is_met(world, clock, met_by):
    """Whoever comes across it has it go on, and does not wait for the schedule."""
    world.ask("c1", "r1")
    begin(world.turns, "t", "r1")
    clock.time += LEASE + 1
    if met_by == "a probe":
        world.send("c1", {"type": "cf_agent_stream_resume_request", "probeId": "p"})
    else:
        world.ask("c1", "r2")

    assert world.dispatcher.dispatched == [("t", "r1")] * 2


def test_turn_whose_functions_die_is_ended_in_words_and_keeps_what_was_said(world, clock):
    """After a few of them: an error for everybody, the partial answer stored, the waiting request started."""
    world.ask("c1", "r1")
    world.ask("c1", "r2")
    die(world, clock)
    assert world.connections.posted == []

    begin(world.turns, "t", "r1")
    clock.time += LEASE + 1
    world.recovery.sweep()
    world.recovery.sweep()

    (frame,) = world.connections.to("c1")
    assert (frame["id"], frame["done"], frame["error"]) == ("r1", True, True)
    assert [m.text() if m.role == "assistant" else m.id for m in world.messages.list("t")] == ["m-r1", "so far", "m-r2"]
    assert world.dispatcher.dispatched == [("t", "r1")] * (1 + TAKEOVERS) + [("t", "r2")]
    assert begin(world.turns, "t", "r2").takeovers == 0


@pytest.mark.parametrize(("age", "known"), [(OPENING_SECONDS, ["c1"]), (OPENING_SECONDS - 1, ["c1", "c2"])])
def test_gone_sockets_are_forgotten(world, clock, age, known):
    """One that API Gateway does not know is removed when a post to it fails, unless it may be only just opening."""
    world.connect("c2")
    world.connections.gone.add("c2")
    world.ask("c1", "r1")
    clock.time += age
    world.recovery.take_back("t", "r1", AppError("x"))

    assert [socket.connection_id for socket in world.sockets.list("t")] == known


def test_asks_are_answered_while_they_are_open(world):
    """An approval and a question's answers reach the agent; what is not asked any more is said so."""
    world.ask("c1", "r1")
    turn = begin(world.turns, "t", "r1")
    asks = {"call_p": Ask(kind="permission", id="per_1"), "call_q": Ask(kind="question", id="que_1")}
    world.turns.renew(turn, generation=1, asks=asks)

    world.send("c1", {"type": "cf_agent_tool_approval", "toolCallId": "call_p", "approved": False})
    answers = {"answers": [["Blue"]]}
    world.send(
        "c1", {"type": "cf_agent_tool_result", "toolCallId": "call_q", "toolName": "question", "output": answers}
    )
    world.send("c1", {"type": "cf_agent_tool_approval", "toolCallId": "call_q", "approved": True})
    world.send("c1", {"type": "cf_agent_tool_approval", "toolCallId": "another", "approved": True})

    assert [("per_1", False), ("que_1", [["Blue"]])] == world.agent.answered
    assert ["invalid_request", "conflict"] == [frame["code"] for frame in world.connections.to("c1")]


def regenerate(world, connection_id, request_id, *messages):
    """Ask again, with the list of messages that the client has."""
    body = json.dumps({"messages": messages, "trigger": "regenerate-message"})
    frame = {"type": "cf_agent_use_chat_request", "id": request_id, "init": {"method": "POST", "body": body}}
    return world.send(connection_id, frame)


def answered(world, request_id):
    """Let a request be answered."""
    turn = begin(world.turns, "t", request_id)
    parts = [{"type": "text", "text": f"to {request_id}", "state": "done"}]
    world.messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    world.turns.end(world.turns.renew(turn, generation=1), "completed")


def test_regenerate_asks_the_last_question_of_the_list_again(world, table):
    """Its answer and what followed are gone, from the table too; one turn is dispatched."""
    for name in ("one", "two"):
        world.ask("c1", f"r-{name}", text=name, message_id=name)
        answered(world, f"r-{name}")
    question = {"id": "one", "role": "user", "parts": [{"type": "text", "text": "one"}]}
    answer = {"id": "whatever", "role": "assistant", "parts": []}
    regenerate(world, "c1", "r-again", question, answer)

    assert ["one"] == [message.text() for message in world.messages.list("t")]
    assert 1 == len([item for item in table.scan()["Items"] if item["sk"].startswith("MSG#")])
    assert ("t", "r-again") == world.dispatcher.dispatched[-1]
    assert [] == world.connections.posted


def test_edit_is_a_message_with_a_known_id(world):
    """It takes the place of what it was, and of all that followed."""
    for name in ("one", "two"):
        world.ask("c1", f"r-{name}", text=name, message_id=name)
        answered(world, f"r-{name}")
    world.ask("c1", "r-edit", text="otherwise", message_id="one")

    assert ["otherwise"] == [message.text() for message in world.messages.list("t")]


def test_clear_empties_the_thread_and_the_other_tabs(world):
    """No answer to whom cleared; an old request attached to is over, without anything of it."""
    world.connect("c2")
    world.ask("c1", "r1")
    answered(world, "r1")
    world.send("c1", {"type": "cf_agent_chat_clear"})

    assert [] == world.messages.list("t")
    assert [("c2", {"type": "cf_agent_chat_clear"})] == world.connections.posted
    world.send("c2", {"type": "cf_agent_stream_resume_ack", "id": "r1"})
    (_, over) = world.connections.to("c2")
    assert (True, "") == (over["done"], over["body"])


def test_turn_that_died_in_a_cleared_thread_leaves_nothing(world, clock):
    """Its request ends, and then the other tabs are emptied; what its agent said is not kept."""
    world.connect("c2")
    world.ask("c1", "r1")
    begin(world.turns, "t", "r1")
    world.send("c1", {"type": "cf_agent_chat_clear"})
    assert [] == world.connections.posted, "whoever runs it tells"

    die(world, clock)
    begin(world.turns, "t", "r1")
    clock.time += LEASE + 1
    world.recovery.sweep()
    assert [("r1", "aborted"), (None, None)] == [(f.get("id"), f.get("outcome")) for f in world.connections.to("c2")]
    assert [("r1", "aborted")] == [(f.get("id"), f.get("outcome")) for f in world.connections.to("c1")]
    assert [] == world.messages.list("t")


@pytest.mark.parametrize("echoed", [[], None, "nonsense", [None], [{"id": "m-r1"}], [{"parts": [1, {"state": []}]}]])
def test_echo_of_the_messages_changes_nothing(world, echoed):
    """A tab tells its list after every change it makes to it: it is no error, and nothing is deleted for it."""
    world.ask("c1", "r1")
    world.send("c1", {"type": "cf_agent_chat_messages", "messages": echoed})

    assert ["m-r1"] == [message.id for message in world.messages.list("t")]
    assert [] == world.connections.posted


def test_answer_in_an_echo_reaches_the_agent(world):
    """What the user has answered is passed on, once; what nobody waits for, and what no user said, is passed over."""
    world.ask("c1", "r1")
    turn = begin(world.turns, "t", "r1")
    asks = {"call_p": Ask(kind="permission", id="per_1"), "call_q": Ask(kind="question", id="que_1")}
    world.turns.renew(turn, generation=1, asks=asks)
    parts = [
        {"type": "tool-bash", "toolCallId": "old", "state": "output-available", "input": {}, "output": {"output": "x"}},
        {"type": "tool-bash", "toolCallId": "call_p", "state": "approval-responded", "approval": {"approved": True}},
        {
            "type": "tool-question",
            "toolCallId": "call_q",
            "state": "output-available",
            "output": {"answers": [["Blue"]]},
        },
        {"type": "tool-bash", "toolCallId": "over", "state": "approval-responded", "approval": {"approved": True}},
        {"type": "tool-bash", "toolCallId": "call_p", "state": "output-available", "output": "not an answer"},
    ]
    messages = [{"id": "a", "role": "assistant", "parts": parts}]
    world.send("c1", {"type": "cf_agent_chat_messages", "messages": messages})

    assert [("per_1", True), ("que_1", [["Blue"]])] == world.agent.answered
    assert [] == world.connections.posted
