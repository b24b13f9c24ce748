"""
One thread whose functions, tabs and sandbox do things in an order that a seed decides.

A seed always makes the same order. ``THREADBOX_SEEDS=5000 pytest tests/unit/test_takeovers.py`` plays more of them than
a run has.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic

from chat.asking import Asking
from chat.attachments import AttachmentStore
from chat.bodies import BodyStore
from chat.clearing import Clearing
from chat.conversation import Conversation
from chat.cuts import CutStore
from chat.exchange import Limits
from chat.messages import MessageStore
from chat.opencode import Line
from chat.recovery import Recovery
from chat.running import TurnRunner, _Run
from chat.turns import TurnStore
from tests.fakes import FakeAgent, FakeAudit, FakeConnections, FakeControl, FakeDispatcher, secret
from tests.unit.interleaving import Interruptible, Loop
from tests.unit.tabs import Tab
from threadbox.errors import UnauthorizedError
from threadbox.sessions import SessionVerifier
from threadbox.sockets import Socket, SocketBroadcast, SocketStore
from threadbox.threads import ThreadStore

TABS, QUESTIONS, LOSSES, STEPS, NESTED = 6, 3, 2, 60, 2
INTERRUPTED = [False] * 7 + [True]
LIMITS = {"turn_until": monotonic() + 10**6, "ask_seconds": 10**6}


class KilledError(Exception):
    """What a dead function meets wherever it would still do something."""


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

    def close(self, connection_id):
        tab = self.tabs[connection_id]
        if not tab.open:
            return tab.closed
        tab.open, tab.closed = False, True
        return True


class Life:
    """One invocation of the turn's function, which may be killed; then nothing of it has an effect any more."""

    def __init__(self, browser, invocation):
        self.browser = browser
        self.invocation = invocation
        self.alive = True

    def check(self):
        if not self.alive:
            raise KilledError

    def post(self, connection_id, frame):
        self.check()
        return self.browser.post(connection_id, frame)

    def close(self, connection_id):
        self.check()
        return self.browser.close(connection_id)


class Sandbox:
    """sandboxd and OpenCode: a log of events, and prompts that are passed on once."""

    def __init__(self, loop):
        self.loop = loop
        self.lines = []
        self.parts = []
        self.stopped = set()
        self._behind = {}
        self.said = Counter()

    async def events(self, access, *, after):
        at = after
        yield Line("cursor", len(self.lines), {})
        while True:
            for line in self.lines[at:]:
                yield line
            at = len(self.lines)
            await self.loop.changed.wait()

    async def prompt(self, access, *, part_id, text, model=""):
        if part_id not in self.parts:
            self.parts.append(part_id)
            self._behind[part_id] = len(self.lines)
            self._begin(part_id)
        return self._behind[part_id]

    def _begin(self, part_id):
        self._happen("message.part.updated", part={"id": part_id, "messageID": f"u-{part_id}", "type": "text"})
        self._step(part_id, completed=None)
        self._text(part_id, end=None)

    async def abort(self, access, *, part_id=None):
        self.end()

    async def messages(self, access):
        raise AssertionError("nobody lost any events")

    def say(self):
        """Say the next number."""
        if self.parts and self.parts[-1] not in self.stopped:
            part_id = self.parts[-1]
            self.said[part_id] += 1
            delta = f"{self.said[part_id]} "
            where = {"messageID": f"a-{part_id}", "partID": f"t-{part_id}", "field": "text"}
            self._happen("message.part.delta", **where, delta=delta)

    def end(self):
        """End the answer."""
        if self.parts and self.parts[-1] not in self.stopped:
            self.stopped.add(self.parts[-1])
            self._text(self.parts[-1], end=1)
            self._step(self.parts[-1], completed=2)
            self._happen("session.idle")

    def beat(self):
        """Say that it lives."""
        self.lines.append(Line("heartbeat", len(self.lines), {}))
        self.loop.wake()

    def text(self, part_id):
        return "".join(f"{n} " for n in range(1, self.said[part_id] + 1))

    def _step(self, part_id, *, completed):
        info = {"id": f"a-{part_id}", "role": "assistant", "parentID": f"u-{part_id}", "time": {"completed": completed}}
        self._happen("message.updated", info=info)

    def _text(self, part_id, *, end):
        text = {"id": f"t-{part_id}", "messageID": f"a-{part_id}", "type": "text", "text": self.text(part_id)}
        self._happen("message.part.updated", part={**text, "time": {"end": end}})

    def _happen(self, kind, **properties):
        event = {"type": kind, "properties": {"sessionID": "ses_1", **properties}}
        self.lines.append(Line("event", len(self.lines) + 1, event))
        self.loop.wake()


class World:
    """
    One thread: the functions as they are, over DynamoDB; tabs; and a sandbox that says one number after the other.

    Before every call to DynamoDB something else may happen, as ``choose`` decides. At most ``deaths`` times the
    function that runs a turn is killed; Lambda reports that once or twice, sooner or later.
    """

    def __init__(self, table, choose, *, deaths=0):
        self.choose = choose
        self.deaths = deaths
        self.died = 0
        self.depth = 0
        self.thread = "t"
        self.loop = Loop()
        self.browser = Browser()
        self.dispatcher = FakeDispatcher()
        self.sandbox = Sandbox(self.loop)
        self.requests = {}
        self.expected = {}
        self.failures = []
        self.lost = 0
        self.untold = []
        self.away = []
        self.life = self.run = self.task = None
        self.begun = 0
        self.table = table
        self._compose(Interruptible(table, self.meanwhile))

    def _compose(self, table):
        bodies = BodyStore(client=lambda: None, bucket="bodies")
        cuts = CutStore(table=table, bodies=bodies)
        turns = TurnStore(table=table)
        messages = MessageStore(table=table, bodies=bodies, cuts=cuts)
        self.sockets = SocketStore(table=table)
        broadcast = SocketBroadcast(store=self.sockets, connections=self.browser)
        self.recovery = Recovery(
            turns=turns, messages=messages, broadcast=broadcast, dispatcher=self.dispatcher, agent=FakeAgent()
        )
        self.conversation = Conversation(
            sessions=SessionVerifier(secret=secret({"kid": "k", "key": "s" * 64})),
            threads=ThreadStore(table=table),
            sockets=self.sockets,
            connections=self.browser,
            broadcast=broadcast,
            messages=messages,
            turns=turns,
            attachments=AttachmentStore(table=table),
            asking=Asking(messages=messages, turns=turns, cuts=cuts, per_minute=1000),
            clearing=Clearing(
                table=table, messages=messages, turns=turns, cuts=cuts, agent=FakeAgent(), broadcast=broadcast
            ),
            dispatcher=self.dispatcher,
            recovery=self.recovery,
            agent=FakeAgent(),
            audit=FakeAudit(),
        )

    def _runner(self, life):
        def meanwhile():
            life.check()
            self.meanwhile()
            life.check()

        table = Interruptible(self.table, meanwhile)
        bodies = BodyStore(client=lambda: None, bucket="bodies")
        return TurnRunner(
            turns=TurnStore(table=table),
            messages=MessageStore(table=table, bodies=bodies, cuts=CutStore(table=table, bodies=bodies)),
            sockets=SocketStore(table=table),
            connections=life,
            control=FakeControl(),
            opencode=self.sandbox,
            dispatcher=self.dispatcher,
            turn_seconds=10**6,
            ask_seconds=10**6,
            posting=self.loop.posts,
        )

    # What may happen

    def events(self):
        """What can happen now, by name; within the turn's function itself only what others do."""
        tabs = self.browser.tabs.values()
        events = {}
        events |= {f"{tab.name} is open": tab.opened for tab in tabs if not tab.open and not tab.closed}
        if len(tabs) < TABS:
            events |= {"open": lambda: self.open(probes=False), "open and probe": lambda: self.open(probes=True)}
        if len(self.requests) < QUESTIONS:
            events |= {f"{tab.name} asks": lambda tab=tab: self.ask(tab) for tab in tabs if tab.open}
        events |= {f"{tab.name} sends": lambda tab=tab: self.send(tab) for tab in tabs if tab.open and tab.outbox}
        if self.lost < LOSSES:
            events |= {f"{tab.name} is cut off": lambda tab=tab: self.cut_off(tab) for tab in tabs if tab.reading}
        events |= {f"{tab.name} is back": lambda tab=tab: self.come_back(tab) for tab in self.away[:1]}
        events |= {"disconnected": self.disconnected} if self.untold else {}
        events |= {f"report {n}": lambda failed=failed: self.report(failed) for n, failed in enumerate(self.failures)}
        if self.loop.running:
            return events
        events |= {f"post {n}": lambda n=n: self.post(n) for n in range(min(len(self.loop.posts.waiting), TABS))}
        if self.run is None:
            return events | ({"begin": self.begin} if self.dispatcher.dispatched else {})
        often = {f"{name} {n}": event for n in range(2) for name, event in (("say", self.say), ("look", self.look))}
        events |= often | {"hand over": self.hand_over, "finish": self.finish}
        return events | ({"die": self.die} if self.died < self.deaths else {})

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
        if probes:
            tab.ask_for_answer()
        self.connect(tab)

    def connect(self, tab):
        self.browser.tabs[tab.name] = tab
        self.sockets.create(Socket(thread_id=self.thread, connection_id=tab.name, user_id="u", client_id=tab.client))

    def cut_off(self, tab):
        """Its connection ends, which API Gateway tells later; it comes back."""
        self.lost += 1
        self.untold.append(tab.name)
        tab.open, tab.closed = False, True
        self.away.append(tab)

    def come_back(self, tab):
        self.away.remove(tab)
        again = tab.again(f"tab{len(self.browser.tabs)}")
        self.connect(again)
        again.opened()

    def disconnected(self):
        self.conversation.disconnect(self.untold.pop(0))

    def ask(self, tab):
        request = f"r{len(self.requests)}"
        tab.ask(request)
        self.requests[request] = None

    def send(self, tab):
        frame = tab.outbox.pop(self.choose(range(len(tab.outbox))))
        self.receive(tab, frame)

    def receive(self, tab, frame):
        try:
            if tab.open:
                self.conversation.receive(tab.name, json.dumps(frame))
        except UnauthorizedError:
            # A socket that was closed meanwhile is nobody's.
            assert tab.closed

    def post(self, n):
        self.loop.posts.release(n)
        self.see_end()

    def report(self, failed):
        self.recovery.go_on(self.thread, failed[0], failed=failed[1])

    # The turn's function

    def begin(self):
        (thread, request), invocation = self.dispatcher.dispatched.pop(0), self.dispatcher.invocations.pop(0)
        sockets = [socket.connection_id for socket in self.sockets.list(thread)]
        present = [name for name in sockets if self.browser.tabs[name].open]
        self.begun += 1
        life = Life(self.browser, invocation)
        runner = self._runner(life)
        turn = runner.turns.start(thread, request, invocation=life.invocation)
        if turn is None:
            return
        self.expected.setdefault(request, present)
        self.requests[request] = turn
        self.life = life
        self.run = _Run(runner, turn, Limits(**LIMITS, function_until=monotonic() + 10**6))
        self.task = self.loop.task(self.run.go())
        self.see_end()

    def say(self):
        self.sandbox.say()
        self.see_end()

    def look(self):
        """As the keeper does, as long as there is one."""
        if not (self.run.keeper.done() or self.run.keeper.cancelling()):
            self.loop.run(self.run._renew())
        self.see_end()

    def hand_over(self):
        if self.run.exchange is not None and self.run.exchange.asked:
            self.run.exchange.limits = Limits(**LIMITS, function_until=0)
            self.sandbox.beat()
            self.see_end()

    def finish(self):
        self.sandbox.end()
        self.see_end()

    def die(self):
        """Kill the function; of what it was posting some has left it already."""
        self.died += 1
        for n in reversed(range(len(self.loop.posts.waiting))):
            if self.choose([False, True]):
                self.loop.posts.release(n)
        self.life.alive = False
        self.failures.append((self.run.turn.request_id, self.life.invocation))
        self.loop.kill()
        self.life = self.run = self.task = None

    def see_end(self):
        self.loop.turn_over()
        if self.task is not None and self.task.done():
            successor = self.task.result()
            self.life = self.run = self.task = None
            if successor is not None and successor.state == "queued":
                self.dispatcher.dispatch(self.thread, successor.request_id, successor.invocation)

    # What is to come of it

    def settle(self):
        """Let everything that is under way come to its end."""
        self.depth = NESTED
        for tab in self.browser.tabs.values():
            if not tab.closed:
                tab.opened()
        while self.untold:
            self.disconnected()
        # Tabs may say something yet, or only once what is under way has ended.
        late = self.choose([False, True])
        for _ in range(400):
            self.loop.release_all()
            self.see_end()
            tabs = [tab for tab in self.browser.tabs.values() if tab.open and tab.outbox]
            busy = self.run is not None or self.dispatcher.dispatched
            if tabs and not (late and busy):
                self.receive(tabs[0], tabs[0].outbox.pop(0))
            elif self.away and not (late and busy):
                self.come_back(self.away[0])
            elif self.run is not None:
                self.look()
                self.finish()
            elif self.dispatcher.dispatched:
                self.begin()
            elif self.failures:
                self.report(self.failures.pop())
            else:
                return
        raise AssertionError("it does not come to an end")

    def text(self, request):
        turn = self.requests.get(request)
        return "" if turn is None else self.sandbox.text(turn.part_id)

    def answers(self):
        """What was said to each request that was answered."""
        texts = {turn.answer_id: self.text(r) for r, turn in self.requests.items() if turn is not None}
        return {answer: text for answer, text in texts.items() if text}

    def stored(self):
        """What is stored of it."""
        messages = self.conversation.messages.list(self.thread)
        return {message.id: message.text() for message in messages if message.role == "assistant" and message.text()}

    def is_last(self, request):
        """Whether no other was answered after it."""
        numbers = {r: turn.seq for r, turn in self.requests.items() if turn is not None}
        return numbers.get(request) == max(numbers.values())

    def problems(self):
        """What any tab has to complain of, when all is over."""
        for tab in self.browser.tabs.values():
            yield from (f"{tab.name} {problem}" for problem in tab.problems)
            if tab.closed:
                continue
            if tab.probe is not None:
                yield f"{tab.name} was never told whether an answer was under way"
            yield from (f"{tab.name} was never told of {r}'s end" for r in tab.own if not tab.answers[r].ended)
            for request, seen in tab.answers.items():
                # Whoever comes back to another answer is not given the rest of the one before.
                if seen.stage == "cut" and not self.is_last(request):
                    continue
                if self.text(request) and not (seen.ended and seen.text == self.text(request)):
                    yield f"{tab.name} has {seen.text!r} of {request}, which is {self.text(request)!r}"
            for request, present in self.expected.items():
                if tab.name in present and request not in tab.answers:
                    yield f"{tab.name} has nothing of {request}"


@dataclass(frozen=True)
class Played:
    """What came of it: texts by answer, as said and as stored; how often each tab got a frame twice; deaths."""

    answers: dict[str, str]
    stored: dict[str, str]
    repeated: list[int]
    died: int


def seeds(number: int, *, after: int = 0) -> Iterable[int]:
    """Return so many seeds behind *after*, or as many as the environment asks for."""
    asked = os.environ.get("THREADBOX_SEEDS")
    return range(after, after + (number if asked is None else int(asked)))


def play(table, seed, *, deaths=0) -> Played:
    """Let events happen, and everything come to its end; nobody has to complain of anything."""
    world = World(table, random.Random(seed).choice, deaths=deaths)  # noqa: S311 - it is to be the same again
    try:
        world.open(probes=True)
        world.browser.tabs["tab0"].opened()
        world.ask(world.browser.tabs["tab0"])
        for _ in range(STEPS):
            world.happen()
        world.settle()
        problems = list(world.problems())
        assert problems == [], problems
        repeated = [sum(seen.repeated for seen in tab.answers.values()) for tab in world.browser.tabs.values()]
        return Played(world.answers(), world.stored(), repeated, world.died)
    finally:
        world.loop.close()
