"""One ordered writer per socket."""

import asyncio
import threading

import pytest

from chat.writers import Writers
from tests.fakes import FakeConnections
from threadbox.errors import RateLimitedError
from threadbox.sockets import Socket


def socket(name, **marks):
    return Socket(thread_id="t", connection_id=name, user_id="u", **marks)


def play(connections, script):
    """Run *script* with the writers of request r, and close them."""
    gone = []

    async def main():
        writers = Writers(connections=connections, request_id="r", on_gone=gone.append)
        script(writers)
        await writers.close()

    asyncio.run(main())
    return gone


def bodies(connections, name):
    return [(frame["body"], frame.get("replay", False)) for frame in connections.to(name)]


def test_every_socket_gets_every_chunk_in_order():
    """All tabs see the same answer."""
    connections = FakeConnections()

    def script(writers):
        writers.sync([socket("a"), socket("b")])
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
        writers = Writers(connections=connections, request_id="r", on_gone=print)
        writers.sync([socket("slow"), socket("fast")])
        for n in range(5):
            writers.chunk({"n": n})
        assert await asyncio.to_thread(arrived.wait, 5)
        assert connections.to("slow") == []
        slow.set()
        await writers.close()

    asyncio.run(main())
    assert bodies(connections, "slow") == bodies(connections, "fast")


def test_late_socket_attaches_with_a_replay():
    """It gets nothing until it asks, then everything from the beginning, then what follows; nothing twice."""
    connections = FakeConnections()

    def script(writers):
        writers.sync([socket("a")])
        writers.chunk({"n": 0})
        writers.sync([socket("a"), socket("b", offered="r")])
        writers.chunk({"n": 1})
        writers.sync([socket("a"), socket("b", offered="r", acked="r")])
        writers.chunk({"n": 2})
        writers.finish('{"body": "end"}')

    play(connections, script)

    assert bodies(connections, "b") == [
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
        writers.sync([socket("a")])
        writers.chunk({"n": 0})
        writers.finish('{"body": "end"}')
        writers.sync([socket("a"), socket("b", offered="r", acked="r")])

    play(connections, script)

    assert bodies(connections, "b") == [('{"n": 0}', True), ("end", False)]


def test_transient_chunks_are_not_replayed():
    """How the sandbox starts is of interest while it starts only."""
    connections = FakeConnections()

    def script(writers):
        writers.sync([socket("a")])
        writers.chunk({"n": 0, "transient": True})
        writers.sync([socket("a"), socket("b", offered="r", acked="r")])

    play(connections, script)

    assert bodies(connections, "b") == [("", True)]


def test_gone_socket_is_reported_once_and_left_alone():
    """Its row is removed; the others go on."""
    connections = FakeConnections(gone={"b"})

    def script(writers):
        writers.sync([socket("a"), socket("b")])
        writers.chunk({"n": 0})
        writers.chunk({"n": 1})

    assert play(connections, script) == ["b"]
    assert len(connections.to("a")) == 2


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
        writers.sync([socket("a")])
        writers.chunk({"n": 0})
        writers.chunk({"n": 1})

    assert play(connections, script) == []
    assert [body for body, _ in bodies(connections, "a")] == ['{"n": 0}', '{"n": 1}']


@pytest.mark.parametrize("present", [[], [socket("me")]])
def test_alone_says_whether_others_watch(present):
    """Nobody else is there: no snapshot needs to be made."""

    def script(writers):
        writers.sync(present)
        assert writers.alone("me")

    play(FakeConnections(), script)
