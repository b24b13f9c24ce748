"""Tabs that come at any moment of a turn: each sees the whole answer, once, whatever the order of events."""

import json
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.attachments import AttachmentStore
from chat.conversation import Conversation
from chat.exchange import Limits
from chat.messages import MessageStore
from chat.recovery import Recovery
from chat.running import TurnRunner, _Run
from chat.turns import TurnStore
from tests.fakes import FakeAgent, FakeConnections, FakeDispatcher, secret
from tests.unit.interleaving import Interruptible, Loop
from tests.unit.tabs import Tab
from threadbox.sessions import SessionVerifier
from threadbox.sockets import Socket, SocketBroadcast, SocketStore
from threadbox.threads import ThreadStore

TABS, QUESTIONS, STEPS, NESTED = 5, 3, 60, 2
INTERRUPTED = [False] * 7 + [True]


class Browser(FakeConnections):
    """``@connections`` of a thread whose tabs take frames at once."""

    def __init__(self):
        super().__init__()
        self.tabs = {}

    def post(self, connection_id, frame):
        tab = self.tabs[connection_id]
        if tab.open:
            tab.receive(json.loads(frame))
        return tab.open


class World:
    """
    One thread: the functions as they are, over DynamoDB; tabs; and a sandbox that says one number after the other.

    Before every call to DynamoDB something else may happen, as ``choose`` decides.
    """

    def __init__(self, table, choose):
        self.choose = choose
        self.depth = 0
        self.thread = "t"
        self.loop = Loop()
        self.browser = Browser()
        self.dispatcher = FakeDispatcher()
        self.said = Counter()
        self.expected = {}
        self.run = None
        self.ending = None
        table = Interruptible(table, self.meanwhile)
        self.turns = TurnStore(table=table)
        self.sockets = SocketStore(table=table)
        self.messages = MessageStore(table=table)
        broadcast = SocketBroadcast(store=self.sockets, connections=self.browser)
        recovery = Recovery(
            turns=self.turns,
            messages=self.messages,
            broadcast=broadcast,
            dispatcher=self.dispatcher,
            agent=FakeAgent(),
        )
        self.conversation = Conversation(
            sessions=SessionVerifier(secret=secret({"kid": "k", "key": "s" * 64})),
            threads=ThreadStore(table=table),
            sockets=self.sockets,
            connections=self.browser,
            broadcast=broadcast,
            messages=self.messages,
            turns=self.turns,
            attachments=AttachmentStore(table=table),
            dispatcher=self.dispatcher,
            recovery=recovery,
            agent=FakeAgent(),
        )
        self.runner = TurnRunner(
            turns=self.turns,
            messages=self.messages,
            sockets=self.sockets,
            connections=self.browser,
            control=None,
            opencode=None,
            dispatcher=self.dispatcher,
            turn_seconds=60,
            ask_seconds=60,
            posting=self.loop.posts,
        )

    # What may happen

    def events(self):
        """What can happen now, by name; within the turn's function itself only what others do."""
        tabs = self.browser.tabs.values()
        events = {}
        events |= {f"{tab.name} is open": lambda tab=tab: self.opened(tab) for tab in tabs if not tab.open}
        if len(tabs) < TABS:
            events |= {"open": lambda: self.open(probes=False), "open and probe": lambda: self.open(probes=True)}
        if sum(len(tab.own) for tab in tabs) < QUESTIONS:
            events |= {f"{tab.name} asks": lambda tab=tab: self.ask(tab) for tab in tabs if tab.open}
        events |= {f"{tab.name} sends": lambda tab=tab: self.send(tab) for tab in tabs if tab.open and tab.outbox}
        if self.loop.running:
            return events
        events |= {f"post {n}": lambda n=n: self.post(n) for n in range(min(len(self.loop.posts.waiting), TABS))}
        if self.ending is not None:
            return events
        if self.run is None:
            return events | ({"begin": self.begin} if self.dispatcher.dispatched else {})
        often = {f"{name} {n}": event for n in range(2) for name, event in (("say", self.say), ("look", self.look))}
        return events | often | {"hand over": self.hand_over, "finish": self.finish}

    def happen(self):
        """Let something happen."""
        events = self.events()
        if events:
            events[self.choose(sorted(events))]()

    def meanwhile(self):
        """Between two calls of a function others may be at work."""
        if self.depth < NESTED and self.choose(INTERRUPTED):
            self.depth += 1
            self.happen()
            self.depth -= 1

    def open(self, *, probes):
        tab = Tab(f"tab{len(self.browser.tabs)}")
        self.browser.tabs[tab.name] = tab
        self.sockets.create(Socket(thread_id=self.thread, connection_id=tab.name, user_id="u"))
        if probes:
            tab.ask_for_answer()

    def opened(self, tab):
        """The handshake is over; until then there was no posting to it."""
        tab.open = True

    def ask(self, tab):
        tab.ask(f"r{sum(len(tab.own) for tab in self.browser.tabs.values())}")

    def send(self, tab):
        frame = tab.outbox.pop(self.choose(range(len(tab.outbox))))
        self.conversation.receive(tab.name, json.dumps(frame))

    def post(self, n):
        self.loop.posts.release(n)
        self.loop.turn_over()
        self.see_end()

    # The turn's function

    def begin(self):
        thread, request = self.dispatcher.dispatched.pop(0)
        sockets = [socket.connection_id for socket in self.sockets.list(thread)]
        present = [name for name in sockets if self.browser.tabs[name].open]
        turn = self.turns.start(thread, request)
        if turn is None:
            return
        self.expected.setdefault(request, present)
        self.run = _Run(self.runner, turn, Limits(turn_until=0, function_until=0, ask_seconds=0))
        self.behind = 0 if turn.cursor is None else turn.cursor
        self.at = 0
        self.loop.run(self.run._see_sockets(turn))
        start = {"type": "start", "messageId": turn.answer_id}
        if turn.cursor is None:
            self.loop.call(lambda: self.run.writers.chunk(start))
        else:
            self.loop.call(lambda: self.run.writers.remember(start))
            if not self.behind:
                self.loop.call(self.run.writers.caught_up)

    def say(self):
        """Read the next event: one that was passed on before, or a new one."""
        self.at += 1
        chunk = {"type": "text-delta", "id": "t", "delta": f"{self.at} "}
        if self.at > self.behind:
            self.said[self.run.turn.request_id] = self.at
            self.loop.call(lambda: self.run.writers.chunk(chunk))
            return
        self.loop.call(lambda: self.run.writers.remember(chunk))
        if self.at == self.behind:
            self.loop.call(self.run.writers.caught_up)

    def look(self):
        self.loop.run(self.run._renew())

    def hand_over(self):
        if self.at >= self.behind:
            self.run.exchange = SimpleNamespace(first=0, cursor=self.at)
            self.end(self.run._hand_over())

    def finish(self):
        if self.at >= self.behind:
            text = self.text(self.run.turn.request_id)
            parts = [{"type": "text", "text": text, "state": "done"}] if text else []
            self.run.exchange = SimpleNamespace(translation=SimpleNamespace(parts=lambda: parts, metadata=dict))
            self.end(self.run._finish("completed", None))

    def end(self, work):
        self.ending = self.loop.task(work)
        self.loop.turn_over()
        self.see_end()

    def see_end(self):
        """The function's last steps wait for its frames to be posted."""
        if self.ending is not None and self.ending.done():
            successor = self.ending.result()
            self.run = self.ending = None
            if successor.state == "queued":
                self.dispatcher.dispatch(self.thread, successor.request_id)

    # What is to come of it

    def text(self, request):
        return "".join(f"{n} " for n in range(1, self.said[request] + 1))

    def settle(self):
        """Let everything that is under way come to its end."""
        self.depth = NESTED
        for tab in self.browser.tabs.values():
            self.opened(tab)
        for _ in range(200):
            self.loop.release_all()
            self.see_end()
            if self.ending is not None:
                continue
            tabs = [tab for tab in self.browser.tabs.values() if tab.open and tab.outbox]
            if tabs:
                self.conversation.receive(tabs[0].name, json.dumps(tabs[0].outbox.pop(0)))
                if self.run is not None:
                    self.look()
            elif self.run is not None:
                (self.finish if self.at >= self.behind else self.say)()
            elif self.dispatcher.dispatched:
                self.begin()
            else:
                return
        raise AssertionError("it does not come to an end")

    def problems(self):
        """What any tab has to complain of, when all is over."""
        for tab in self.browser.tabs.values():
            yield from (f"{tab.name} {problem}" for problem in tab.problems)
            if tab.probe is not None:
                yield f"{tab.name} was never told whether an answer was under way"
            yield from (f"{tab.name} was never told of {r}'s end" for r in tab.own if not tab.answers[r].ended)
            for request, seen in tab.answers.items():
                if self.said[request] and not (seen.ended and seen.text == self.text(request)):
                    yield f"{tab.name} has {seen.text!r} of {request}, which is {self.text(request)!r}"
            for request, present in self.expected.items():
                if tab.name in present and request not in tab.answers:
                    yield f"{tab.name} has nothing of {request}"


@contextmanager
def world(table, choose):
    """A thread that leaves nothing behind: moto copies its tables for every transaction."""
    world = World(table, choose)
    try:
        yield world
    finally:
        world.loop.close()
        with table.batch_writer() as batch:
            for item in table.scan()["Items"]:
                batch.delete_item(Key={"thread_id": item["thread_id"], "sk": item["sk"]})


ORDERS = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def play(table, data, monkeypatch):
    """Let events happen, and everything come to its end."""
    monkeypatch.setattr("chat.writers.DRAIN", 3600)
    with world(table, lambda options: data.draw(st.sampled_from(options))) as thread:
        thread.open(probes=True)
        thread.opened(thread.browser.tabs["tab0"])
        thread.ask(thread.browser.tabs["tab0"])
        for _ in range(STEPS):
            thread.happen()
        thread.settle()

        assert list(thread.problems()) == []


@settings(ORDERS, max_examples=20)
@given(data=st.data())
def test_every_tab_sees_the_whole_answer_once(table, data, monkeypatch):
    """
    Tabs open, probe, acknowledge and ask, answers begin, are handed over and end, in any order of the single calls.

    A tab gets no live frame between an offer and the beginning of its replay, and never one of what it was told is
    not there. What it shows of an answer in the end is the whole of it.
    """
    play(table, data, monkeypatch)


@pytest.mark.long
@settings(ORDERS, max_examples=300)
@given(data=st.data())
def test_every_tab_sees_the_whole_answer_once_in_many_more_orders(table, data, monkeypatch):
    """The same, for some minutes."""
    play(table, data, monkeypatch)
