"""One ordered writer per socket."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from chat.turn import Attachment
from chat.writers import POSTED_SOON, Writers
from tests.fakes import FakeConnections
from tests.unit.interleaving import Loop
from threadbox.errors import RateLimitedError
from threadbox.sockets import Socket

PROBE, ACK = Attachment(probe="p"), Attachment(acked=True)


def sockets(*names):
    return [Socket(thread_id="t", connection_id=name, user_id="u") for name in names]


def play(connections, script, **options):
    """Run *script* with the writers of request r, and close them; return the sockets whose rows were removed."""
    gone = []

    async def main():
        writers = Writers(connections=connections, request_id="r", own="a", on_gone=gone.append, **options)
        script(writers)
        await writers.close()

    asyncio.run(main())
    return gone


def bodies(connections, name):
    return [(frame.get("body", frame.get("type")), frame.get("replay", False)) for frame in connections.to(name)]


def test_every_socket_gets_every_chunk_in_order():
    """All tabs see the same answer."""
    connections = FakeConnections()

    def script(writers):
        writers.sync(sockets("a", "b"), {})
        for n in range(50):
            writers.chunk({"n": n})

    play(connections, script)

    expected = [(f'{{"n": {n}}}', False) for n in range(50)]
    assert expected == bodies(connections, "a") == bodies(connections, "b")


def test_slow_socket_does_not_hold_up_the_others():
    """A socket that hangs keeps only itself waiting."""
    slow = threading.Event()
    arrived = threading.Event()

    class OneSlow(FakeConnections):
        def post(self, connection_id, frame):
            if connection_id == "slow":
                slow.wait(10)
            done = super().post(connection_id, frame)
            if len(self.to("fast")) == 5:
                arrived.set()
            return done

    connections = OneSlow()

    async def main():
        writers = Writers(connections=connections, request_id="r", own="a", on_gone=print)
        writers.sync(sockets("slow", "fast"), {})
        for n in range(5):
            writers.chunk({"n": n})
        assert await asyncio.to_thread(arrived.wait, 5)
        assert connections.to("slow") == []
        slow.set()
        await writers.close()

    asyncio.run(main())
    assert bodies(connections, "slow") == bodies(connections, "fast")


def test_dead_sockets_hold_up_nobody():
    """However many hang at once: neither the others' frames wait for them, nor what the turn does beside."""
    hang = threading.Event()
    arrived = threading.Event()
    dead = [f"dead-{n}" for n in range(20)]

    class Hanging(FakeConnections):
        def post(self, connection_id, frame):
            if connection_id in dead:
                hang.wait(10)
            else:
                arrived.set()
            return super().post(connection_id, frame)

    async def main():
        posting = ThreadPoolExecutor(32)
        writers = Writers(connections=Hanging(), request_id="r", own="a", on_gone=print, threads=posting)
        writers.sync(sockets(*dead, "fast"), {})
        writers.chunk({"n": 0})
        try:
            assert await asyncio.wait_for(asyncio.to_thread(arrived.wait, 5), 8)
        finally:
            hang.set()
        await writers.close()

    asyncio.run(main())


def test_late_socket_attaches_with_a_replay():
    """It gets nothing until it asks, then everything from the beginning, then what follows; nothing twice."""
    connections = FakeConnections()

    def script(writers):
        writers.sync(sockets("a"), {})
        writers.chunk({"n": 0})
        writers.sync(sockets("a", "b"), {"b": PROBE})
        writers.chunk({"n": 1})
        writers.sync(sockets("a", "b"), {"b": ACK})
        writers.chunk({"n": 2})
        writers.finish('{"body": "end"}')

    play(connections, script)

    assert connections.to("b")[0] == {"type": "cf_agent_stream_resuming", "id": "r", "probeId": "p"}
    assert bodies(connections, "b")[1:] == [
        ('{"n": 0}', True),
        ('{"n": 1}', True),
        ("", True),
        ('{"n": 2}', False),
        ("end", False),
    ]


def test_socket_that_attaches_after_the_last_frame_gets_the_end():
    """The frame that ends the answer stands behind the replay then."""
    connections = FakeConnections()

    def script(writers):
        writers.sync(sockets("a"), {})
        writers.chunk({"n": 0})
        writers.finish('{"body": "end"}')
        writers.sync(sockets("a", "b"), {"b": ACK})

    play(connections, script)

    assert bodies(connections, "b") == [('{"n": 0}', True), ("end", False)]


def test_transient_chunks_are_not_replayed():
    """How the sandbox starts is of interest while it starts only."""
    connections = FakeConnections()

    def script(writers):
        writers.sync(sockets("a"), {})
        writers.chunk({"n": 0, "transient": True})
        writers.sync(sockets("a", "b"), {"b": ACK})

    play(connections, script)

    assert bodies(connections, "b") == [("", True)]


def test_gone_socket_is_reported_once_and_left_alone():
    """Its row is removed; the others go on."""
    connections = FakeConnections(gone={"b"})

    def script(writers):
        writers.sync(sockets("a", "b"), {})
        writers.chunk({"n": 0})
        writers.chunk({"n": 1})

    assert play(connections, script) == connections.closed == ["b"]
    assert len(connections.to("a")) == 2


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def young(clock):
    return Socket(thread_id="t", connection_id="a", user_id="u", opened_at=int(clock.time) - 1)


def test_socket_that_is_only_just_opening_is_held_and_not_removed(loop, young, clock):
    """It answers as one that is gone; once it is there it asks, and gets everything from the beginning."""
    connections, gone = FakeConnections(gone={"a"}), []
    writers = Writers(
        connections=connections, request_id="r", own="me", on_gone=gone.append, threads=loop.posts, now=clock
    )
    loop.call(lambda: writers.sync([young], {}))
    for n in range(2):
        loop.call(lambda n=n: writers.chunk({"n": n}))
    loop.release_all()
    connections.gone.clear()
    for attachment in (PROBE, ACK):
        loop.call(lambda attachment=attachment: writers.sync([young], {"a": attachment}))
        loop.release_all()
    loop.run(writers.close())

    assert [] == gone == connections.closed
    assert frozenset({"a"}) == writers.served
    assert bodies(connections, "a") == [
        ("cf_agent_stream_resuming", False),
        ('{"n": 0}', True),
        ('{"n": 1}', True),
        ("", True),
    ]


def test_socket_that_is_offered_the_answer_too_early_is_offered_it_again(loop, young, clock, monkeypatch):
    """As often as it takes: it has asked for nothing, so that it may still be opening."""
    monkeypatch.setattr("chat.writers.SILENT_SECONDS", 0)
    connections, gone = FakeConnections(gone={"a"}), []
    writers = Writers(
        connections=connections, request_id="r", own="me", on_gone=gone.append, threads=loop.posts, now=clock
    )
    loop.call(lambda: writers.sync([], {}))
    loop.call(lambda: writers.sync([young], {}))
    for _ in range(3):
        loop.call(writers.tell_the_silent)
        loop.release_all()
    connections.gone.clear()
    loop.call(writers.tell_the_silent)
    loop.release_all()
    loop.run(writers.close())

    assert [] == gone == connections.closed
    assert [("cf_agent_stream_resuming", False)] == bodies(connections, "a")


def test_socket_that_asks_while_a_frame_is_refused_to_it_is_answered(loop, young, clock):
    """The frame was too early, and the offer behind it was not posted with it."""
    connections = FakeConnections(gone={"a"})
    writers = Writers(connections=connections, request_id="r", own="me", on_gone=print, threads=loop.posts, now=clock)
    loop.call(lambda: writers.sync([young], {}))
    loop.call(lambda: writers.chunk({"n": 0}))
    loop.turn_over()
    loop.call(lambda: writers.sync([young], {"a": PROBE}))
    loop.posts.release(0)
    connections.gone.clear()
    loop.release_all()

    assert bodies(connections, "a") == [("cf_agent_stream_resuming", False)]


def test_young_socket_that_has_asked_and_is_gone_is_removed(loop, young, clock):
    """It was there, or it could not have asked: it is tried once more, and then forgotten."""
    connections, gone = FakeConnections(gone={"a"}), []
    writers = Writers(
        connections=connections, request_id="r", own="me", on_gone=gone.append, threads=loop.posts, now=clock
    )
    loop.call(lambda: writers.sync([young], {"a": PROBE}))
    loop.release_all()

    assert gone == connections.closed == ["a"]


def test_full_socket_is_tried_again(monkeypatch):
    """LimitExceeded is followed by a pause and a further try; the order stays."""
    monkeypatch.setattr("chat.writers.BACKOFF", (0, 0, 0))

    class Full(FakeConnections):
        refusals = 2

        def post(self, connection_id, frame):
            if self.refusals:
                self.refusals -= 1
                raise RateLimitedError("full")
            return super().post(connection_id, frame)

    connections = Full()

    def script(writers):
        writers.sync(sockets("a"), {})
        writers.chunk({"n": 0})
        writers.chunk({"n": 1})

    assert play(connections, script) == []
    assert [body for body, _ in bodies(connections, "a")] == ['{"n": 0}', '{"n": 1}']


@pytest.mark.parametrize("present", [[], ["me"]])
def test_alone_says_whether_others_watch(present):
    """Nobody else is there: no snapshot needs to be made."""

    def script(writers):
        writers.sync(sockets(*present), {})
        assert writers.alone("me")

    play(FakeConnections(), script)


def test_live_socket_that_probes_begins_anew():
    """Whoever follows the answer and asks for it gets nothing more until it wants it, and then everything."""
    connections = FakeConnections()

    def script(writers):
        writers.sync(sockets("a", "b"), {})
        writers.chunk({"n": 0})
        writers.sync(sockets("a", "b"), {"b": PROBE})
        writers.sync(sockets("a", "b"), {"b": PROBE})
        writers.chunk({"n": 1})
        assert writers.awaiting()
        writers.sync(sockets("a", "b"), {"b": ACK})
        writers.chunk({"n": 2})
        assert not writers.awaiting()

    play(connections, script)

    assert bodies(connections, "b") == [
        ('{"n": 0}', False),
        ("cf_agent_stream_resuming", False),
        ('{"n": 0}', True),
        ('{"n": 1}', True),
        ("", True),
        ('{"n": 2}', False),
    ]


def test_whoever_asked_the_question_is_not_offered_its_answer():
    """The client would pass over the offer, and wait for ever: it is told that there is nothing to attach to."""
    connections = FakeConnections()

    def script(writers):
        writers.sync(sockets("a"), {"a": PROBE})
        writers.chunk({"n": 0})

    play(connections, script)

    assert bodies(connections, "a") == [("cf_agent_stream_resume_none", False), ('{"n": 0}', False)]


@pytest.mark.parametrize(("attachments", "waited_for"), [({}, False), ({"a": PROBE}, True)])
def test_whoever_asked_the_question_is_waited_for_only_if_it_probes(attachments, waited_for):
    """Nothing of a later turn may come before what a probe is told; its other frames hold nothing up."""
    connections = FakeConnections()

    async def main():
        writers = Writers(connections=connections, request_id="r", own="a", on_gone=print)
        writers.sync(sockets("a"), attachments)
        writers.finish('{"type": "done"}')
        await writers.close(but_own=True)
        assert waited_for == bool(connections.to("a"))
        await writers.close()

    asyncio.run(main())
    assert [frame["type"] for frame in connections.to("a")][-1] == "done"


def test_successor_goes_on_for_those_that_were_served():
    """Of the others none gets the half of an answer; who wants it gets all, once the beginning has been read again."""
    connections = FakeConnections()

    def script(writers):
        writers.remember({"n": 0})
        writers.sync(sockets("a", "b", "late"), {"b": ACK})
        writers.remember({"n": 1})
        writers.caught_up()
        writers.chunk({"n": 2})

    play(connections, script, served=frozenset({"a"}))

    assert bodies(connections, "a") == [('{"n": 2}', False)]
    assert bodies(connections, "b") == [('{"n": 0}', True), ('{"n": 1}', True), ("", True), ('{"n": 2}', False)]
    assert connections.to("late") == []


def test_long_replay_is_a_few_frames_and_no_reason_to_give_a_socket_up(monkeypatch):
    """However much was said before it came, a tab can follow: deltas are joined, and only what comes live counts."""
    monkeypatch.setattr("chat.writers.QUEUE_LIMIT", 10)
    connections = FakeConnections()

    def delta(n):
        return {"type": "text-delta", "id": "t", "delta": f"{n} "}

    def script(writers):
        writers.sync([], {})
        for n in range(1000):
            writers.chunk(delta(n))
        for n in range(20):
            writers.chunk({"n": n})
        writers.sync(sockets("b"), {"b": ACK})
        for n in range(10):
            writers.chunk({"n": n})

    assert play(connections, script) == []
    frames = bodies(connections, "b")
    assert "".join(json.loads(body).get("delta", "") for body, _ in frames if body) == "".join(
        f"{n} " for n in range(1000)
    )
    assert len(frames) == 1 + 20 + 1 + 10


def test_socket_that_cannot_keep_up_is_closed(monkeypatch):
    """It is not left with the half of an answer: its client comes back, and begins anew."""
    monkeypatch.setattr("chat.writers.QUEUE_LIMIT", 3)
    connections = FakeConnections()

    def script(writers):
        writers.sync(sockets("a"), {})
        for n in range(5):
            writers.chunk({"n": n})
        writers.sync(sockets("a"), {"a": ACK})

    assert play(connections, script) == connections.closed == ["a"]
    assert connections.to("a") == []


def test_socket_that_hangs_to_the_end_is_closed(monkeypatch):
    """What could not be posted in time is not waited for, and not passed over in silence."""
    monkeypatch.setattr("chat.writers.DRAIN", 1)
    never = threading.Event()

    class Hanging(FakeConnections):
        def post(self, connection_id, frame):
            never.wait(10)
            return super().post(connection_id, frame)

        def close(self, connection_id):
            super().close(connection_id)
            never.set()

    connections = Hanging()

    def script(writers):
        writers.sync(sockets("a"), {})
        writers.chunk({"n": 0})
        writers.chunk({"n": 1})

    assert play(connections, script) == connections.closed == ["a"]


@pytest.mark.parametrize("but_own", [False, True])
def test_closed_writers_begin_where_they_were(but_own):
    """A turn that cannot end yet goes on for the same sockets, and lets in who came meanwhile."""
    connections = FakeConnections()

    async def main():
        writers = Writers(connections=connections, request_id="r", own="a", on_gone=print)
        writers.sync(sockets("a", "b"), {})
        writers.chunk({"n": 0})
        writers.finish('{"type": "done"}')
        await writers.close(but_own=but_own)
        writers.sync(sockets("a", "b", "c"), {"c": ACK})
        await writers.close()

    asyncio.run(main())
    assert bodies(connections, "a") == bodies(connections, "b") == [('{"n": 0}', False), ("done", False)]
    assert bodies(connections, "c") == [('{"n": 0}', True), ("done", False)]


def test_what_is_posted_is_waited_for_but_not_those_that_hang():
    """Who has got everything is told, and who lags; one that lags is not waited for again."""
    hang = threading.Event()

    class OneHangs(FakeConnections):
        def post(self, connection_id, frame):
            if connection_id == "slow":
                hang.wait(10)
            return super().post(connection_id, frame)

    async def main():
        writers = Writers(connections=OneHangs(), request_id="r", own="a", on_gone=print)
        writers.sync(sockets("a", "slow", "late"), {"late": PROBE})
        writers.chunk({"n": 0})
        assert (frozenset({"a"}), frozenset({"slow"})) == await writers.posted()
        began = monotonic()
        assert (frozenset({"a"}), frozenset({"slow"})) == await writers.posted()
        assert monotonic() - began < POSTED_SOON / 2
        hang.set()
        writers.chunk({"n": 1})
        await writers.close()
        assert frozenset({"a", "slow"}) == writers.served

    asyncio.run(main())


def test_socket_that_is_gone_is_waited_for_no_longer(monkeypatch):
    """What it does not get nobody waits for."""
    monkeypatch.setattr("chat.writers.POSTED_SOON", 3600)
    connections = FakeConnections(gone={"b"})

    async def main():
        writers = Writers(connections=connections, request_id="r", own="a", on_gone=lambda _: None)
        writers.sync(sockets("a", "b"), {})
        for n in range(3):
            writers.chunk({"n": n})
        assert (frozenset({"a"}), frozenset()) == await writers.posted()
        await writers.close()

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize(
    ("served", "live", "held"), [(frozenset({"a", "b"}), ["a", "b"], ["new", "probed"]), (None, ["a", "b", "new"], [])]
)
def test_sockets_are_met_after_a_death(served, live, held):
    """
    What the function before noted goes on; what it was behind with, and what has attached since, is closed, since
    nobody knows what it got. Others are offered the answer, also those that may have been before.
    """
    connections = FakeConnections()
    asked = {"probed": PROBE, "acked": ACK}

    def script(writers):
        writers.sync(sockets("a", "b", "lagging", "acked", "probed", "new"), asked)
        writers.chunk({"n": 0})

    gone = play(connections, script, served=served, doubtful=frozenset({"lagging"}))

    assert ["acked", "lagging"] == sorted(connections.closed) == sorted(gone)
    assert [('{"n": 0}', False)] * len(live) == [frame for name in live for frame in bodies(connections, name)]
    assert [("cf_agent_stream_resuming", False)] == bodies(connections, "probed")
    assert [] == [frame for name in held if name != "probed" for frame in bodies(connections, name)]


def test_socket_that_is_only_just_opening_is_not_closed_after_a_death(young, clock):
    """It has got nothing, and asks as soon as it is there."""
    connections = FakeConnections(gone={"a"})

    def script(writers):
        writers.sync([young], {})
        writers.chunk({"n": 0})

    assert [] == play(connections, script, served=frozenset(), doubtful=frozenset({"a"}), now=clock)
    assert [] == bodies(connections, "a")


def test_abandoned_writers_post_nothing_more():
    """What waits belongs to another function's answer."""
    connections = FakeConnections()

    def script(writers):
        writers.sync(sockets("a"), {})
        writers.chunk({"n": 0})
        writers.abandon()

    play(connections, script)

    assert [] == bodies(connections, "a") == connections.closed


def test_clients_that_lost_their_connection_are_known():
    """Those that had the beginning of the answer; not those that had nothing of it, and not those that are back."""
    connections = FakeConnections(gone={"gone"})

    def client(name, of):
        return Socket(thread_id="t", connection_id=name, user_id="u", client_id=of)

    async def main():
        writers = Writers(connections=connections, request_id="r", own="a", on_gone=lambda _: None)
        writers.sync([client("a", "A"), client("gone", "G"), client("b", "B"), client("c", "C")], {})
        writers.chunk({"n": 0})
        await writers.posted()
        writers.sync([client("c2", "C"), client("late", "L")], {"c2": ACK})
        writers.sync([client("c2", "C")], {"c2": ACK})
        await writers.close()
        assert {"A", "B", "G"} == writers.cut_off

    asyncio.run(main())


def older(name, of):
    return Socket(thread_id="t", connection_id=name, user_id="u", client_id=of, older=True)


def let_one_come_late(writers):
    """Let the answer begin before it comes; it has not asked when the silent are told."""
    writers.sync(sockets("a"), {})
    writers.chunk({"n": 0})
    writers.sync(sockets("a", "late"), {})
    writers.tell_the_silent()


def test_who_never_asks_is_offered_the_answer_after_a_while(monkeypatch):
    """A page of the older generation that was opened while the answer is under way; once, and not whoever asked it."""
    connections = FakeConnections()

    def script(writers):
        let_one_come_late(writers)
        assert bodies(connections, "late") == []
        monkeypatch.setattr("chat.writers.SILENT_SECONDS", 0)
        writers.tell_the_silent()
        writers.tell_the_silent()
        writers.sync(sockets("a", "late"), {"late": ACK})

    play(connections, script)

    assert [("cf_agent_stream_resuming", False), ('{"n": 0}', True), ("", True)] == bodies(connections, "late")
    assert [('{"n": 0}', False)] == bodies(connections, "a")


def test_every_tab_that_never_asks_is_offered_the_answer(monkeypatch):
    """Several at once, each for itself: one that asks in between is answered once, one that is gone is passed over."""
    connections = FakeConnections()

    def script(writers):
        writers.sync(sockets("a"), {})
        writers.chunk({"n": 0})
        writers.sync(sockets("a", "b", "c", "newest", "gone"), {})
        writers.sync(sockets("a", "b", "c", "newest"), {"newest": PROBE})
        monkeypatch.setattr("chat.writers.SILENT_SECONDS", 0)
        writers.tell_the_silent()
        writers.sync(sockets("a", "b", "c", "newest"), {"newest": Attachment(probe="p"), "c": ACK})
        writers.tell_the_silent()
        writers.chunk({"n": 1})
        writers.sync(sockets("a", "b", "c", "newest"), {"newest": ACK, "b": ACK, "c": ACK})

    play(connections, script)

    offer, caught_up = ("cf_agent_stream_resuming", False), ("", True)
    both = ('{"n": 0}', True), ('{"n": 1}', True)
    assert [offer, *both, caught_up] == bodies(connections, "b") == bodies(connections, "newest")
    assert [offer, both[0], caught_up, ('{"n": 1}', False)] == bodies(connections, "c")
    assert [] == bodies(connections, "gone")


@pytest.mark.parametrize("seen", [[ACK, PROBE], [PROBE, ACK], [PROBE]], ids=["before", "after", "overwritten"])
def test_offer_that_crosses_a_late_question_is_not_made_again(monkeypatch, seen):
    """The newest client takes it for its answer, and passes over another one, whenever its ack comes."""
    monkeypatch.setattr("chat.writers.SILENT_SECONDS", 0)
    connections = FakeConnections()

    def script(writers):
        let_one_come_late(writers)
        for attachment in seen:
            writers.sync(sockets("a", "late"), {"late": attachment})
        writers.chunk({"n": 1})

    play(connections, script)

    offer, replay = ("cf_agent_stream_resuming", False), (('{"n": 0}', True), ("", True))
    assert [offer, *replay, ('{"n": 1}', False)] == bodies(connections, "late")


def test_older_client_that_comes_back_takes_up_where_it_was(monkeypatch):
    """It cannot begin the answer anew: it gets what it has not had, without being offered anything."""
    monkeypatch.setattr("chat.writers.SILENT_SECONDS", 0)
    connections = FakeConnections()

    async def main():
        writers = Writers(connections=connections, request_id="r", own="a", on_gone=print)
        writers.sync([older("a", "A")], {})
        writers.chunk({"n": 0})
        writers.chunk({"n": 1})
        await writers.posted()
        writers.sync([], {})
        writers.chunk({"n": 2})
        writers.sync([Socket(thread_id="t", connection_id="a2", user_id="u", client_id="A")], {})
        assert {"A"} == writers.silent() == writers.cut_off
        writers.tell_the_silent()
        writers.finish('{"type": "done"}')
        await writers.close()
        assert set() == writers.cut_off

    asyncio.run(main())
    assert [('{"n": 2}', False), ("done", False)] == bodies(connections, "a2")


def test_other_client_that_comes_back_is_waited_for(monkeypatch):
    """Of one that may be of the newest generation nothing is guessed: it asks, or is seen to when the answer ends."""
    monkeypatch.setattr("chat.writers.SILENT_SECONDS", 0)
    connections = FakeConnections()

    def client(name):
        return Socket(thread_id="t", connection_id=name, user_id="u", client_id="A")

    async def main():
        writers = Writers(connections=connections, request_id="r", own="x", on_gone=print)
        writers.sync([client("a")], {})
        writers.chunk({"n": 0})
        await writers.posted()
        writers.sync([client("a2")], {})
        writers.tell_the_silent()
        assert {"A"} == writers.silent()
        await writers.close()

    asyncio.run(main())
    assert [] == bodies(connections, "a2")
