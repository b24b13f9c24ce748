"""What a socket's frames do, on real stores; Lambda and @connections are played."""

import json
import time

import jwt
import pytest

from chat.attachments import AttachmentStore
from chat.conversation import Conversation
from chat.messages import MessageStore, UIMessage
from chat.recovery import Recovery
from chat.routes import SocketRoutes
from chat.turn import Ask, Attachment, TurnState
from chat.turns import LEASE, TurnStore
from tests.fakes import FakeAgent, FakeConnections, FakeDispatcher, secret
from threadbox.errors import AppError, RateLimitedError
from threadbox.sessions import SessionVerifier
from threadbox.sockets import OPENING_SECONDS, SocketBroadcast, SocketStore
from threadbox.threads import ThreadStore

KEY = {"kid": "k", "key": "s" * 64}


class World:
    """The socket routes over one table."""

    def __init__(self, table, clock):
        self.connections = FakeConnections()
        self.dispatcher = FakeDispatcher()
        self.turns = TurnStore(table=table, now=clock)
        self.messages = MessageStore(table=table, now=clock)
        self.sockets = SocketStore(table=table, now=clock)
        self.agent = FakeAgent()
        broadcast = SocketBroadcast(store=self.sockets, connections=self.connections, now=clock)
        self.recovery = Recovery(
            turns=self.turns,
            messages=self.messages,
            broadcast=broadcast,
            dispatcher=self.dispatcher,
            agent=self.agent,
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
                dispatcher=self.dispatcher,
                recovery=self.recovery,
                agent=self.agent,
            )
        )

    def connect(self, connection_id, thread="t", user="u"):
        now = int(time.time())
        claims = {"aud": "threadbox", "thread_id": thread, "user_id": user, "iat": now, "exp": now + 60}
        token = jwt.encode(claims, KEY["key"], "HS256", headers={"kid": "k"})
        return self.event("$connect", connection_id, queryStringParameters={"thread": thread, "token": token})

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
def world(table, clock):
    world = World(table, clock)
    assert world.connect("c1") == 200
    return world


def test_connect_needs_a_token_for_the_thread(world):
    """No token, a bad thread id, another user's thread: the handshake is refused."""
    assert world.event("$connect", "c2") == 401
    assert world.event("$connect", "c2", queryStringParameters={"thread": "t", "token": "x"}) == 401
    assert world.event("$connect", "c2", queryStringParameters={"thread": "a/b", "token": "x"}) == 401
    assert world.connect("c2", user="somebody else") == 403
    assert [socket.connection_id for socket in world.sockets.list("t")] == ["c1"]


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
    world.turns.end(world.turns.start("t", "r1"), "error")
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

    def refuse(thread_id, request_id):
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
    first = world.turns.start("t", "r1")
    assert first.attachments == {}

    world.send("c1", {"type": "cf_agent_stream_resume_request", "probeId": "p"})
    assert world.turns.end(first, "completed") is None, "it has not seen the question"
    world.turns.end(world.turns.renew(first, generation=None), "completed")
    world.ask("c1", "r2")

    assert world.turns.start("t", "r2").attachments == {}


def test_ack_after_the_end_replays_the_stored_answer(world):
    """Who attaches too late gets the whole answer from the store, and its end."""
    world.ask("c1", "r1")
    turn = world.turns.start("t", "r1")
    parts = [{"type": "step-start"}, {"type": "text", "text": "Hello", "state": "done"}]
    world.messages.put("t", turn.seq + 1, UIMessage(id=turn.answer_id, role="assistant", parts=parts))
    world.turns.end(turn, "completed")

    world.send("c1", {"type": "cf_agent_stream_resume_ack", "id": "r1"})
    world.send("c1", {"type": "cf_agent_stream_resume_ack", "id": "unknown"})

    *chunks, last, unknown = world.connections.to("c1")
    assert "".join(json.loads(f["body"]).get("delta", "") for f in chunks) == "Hello"
    assert all(f["replay"] for f in chunks)
    assert (last["done"], last["outcome"]) == (True, "completed")
    assert (unknown["id"], unknown["done"]) == ("unknown", True)


def test_cancel_reaches_the_running_turn_only(world):
    """Stop is a flag for whoever runs the turn, and an abort; of anything else nothing changes."""
    world.ask("c1", "r1")
    world.send("c1", {"type": "cf_agent_chat_request_cancel", "id": "another"})
    assert not world.turns.find("t").cancel
    world.send("c1", {"type": "cf_agent_chat_request_cancel", "id": "r1"})
    assert world.turns.find("t").cancel
    assert world.agent.aborted == ["r1"]


def test_dead_turn_is_ended_in_words_and_keeps_what_was_said(world, clock):
    """The schedule finds it: an error for everybody, the partial answer stored, the waiting request started."""
    world.ask("c1", "r1")
    world.turns.start("t", "r1")
    world.ask("c1", "r2")
    world.recovery.sweep()
    assert world.connections.posted == [], "the lease still holds"

    clock.time += LEASE + 1
    world.recovery.sweep()
    world.recovery.sweep()

    (frame,) = world.connections.to("c1")
    assert (frame["id"], frame["done"], frame["error"]) == ("r1", True, True)
    assert [m.text() if m.role == "assistant" else m.id for m in world.messages.list("t")] == ["m-r1", "so far", "m-r2"]
    assert world.dispatcher.dispatched == [("t", "r1"), ("t", "r2")]


@pytest.mark.parametrize(("age", "known"), [(OPENING_SECONDS, ["c1"]), (OPENING_SECONDS - 1, ["c1", "c2"])])
def test_gone_sockets_are_forgotten(world, clock, age, known):
    """One that API Gateway does not know is removed when a post to it fails, unless it may be only just opening."""
    world.connect("c2")
    world.connections.gone.add("c2")
    world.ask("c1", "r1")
    clock.time += age
    world.recovery.end("t", "r1", error=AppError("x"), expired_only=False)

    assert [socket.connection_id for socket in world.sockets.list("t")] == known


def test_asks_are_answered_while_they_are_open(world):
    """An approval and a question's answers reach the agent; what is not asked any more is said so."""
    world.ask("c1", "r1")
    turn = world.turns.start("t", "r1")
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
