"""A turn's writers, through the gateway and its limits: a socket that does not read is its own problem."""

import asyncio
from contextlib import ExitStack
from threading import Thread

import pytest

from chat.writers import Writers
from tests.gateways import gateway
from threadbox.connections import ConnectionsClient
from threadbox.sockets import Socket

SECONDS = 30
COUNT = 400
DELTA = "x" * 30_000


@pytest.fixture
def running():
    with gateway() as running:
        yield running


def read(client, frames):
    """Read all of the answer as it comes."""
    while len(frames) < COUNT:
        frames.append(client.recv(timeout=SECONDS))


def test_socket_that_does_not_read_slows_nobody_and_is_given_up(running):
    """
    Its buffer fills up, it is waited for for a moment, then its row goes; the others get every frame, in order.
    """
    gone = []
    with ExitStack() as opened:
        tabs = {}
        for name in ("lazy", "one", "two"):
            tab = opened.enter_context(running.connect(max_queue=1 if name == "lazy" else 16, close_timeout=1))
            tabs[running.connection_id()] = (name, tab)
        received = {connection_id: [] for connection_id, (name, _) in tabs.items() if name != "lazy"}
        readers = [Thread(target=read, args=(tabs[each][1], frames)) for each, frames in received.items()]
        for reader in readers:
            reader.start()

        async def turn():
            connections = ConnectionsClient.of(f"http://{running.address}")
            writers = Writers(connections=connections, request_id="r", own="a", on_gone=gone.append)
            writers.sync([Socket(thread_id="t", connection_id=each, user_id="u") for each in tabs], {})
            for number in range(COUNT):
                writers.chunk({"type": "text-delta", "id": str(number), "delta": DELTA})
            await asyncio.to_thread(lambda: [reader.join(SECONDS) for reader in readers])
            await writers.close()

        asyncio.run(turn())

    (lazy,) = tabs.keys() - received.keys()
    assert gone == [lazy]
    for frames in received.values():
        assert [f'\\"id\\": \\"{number}\\"' in frame for number, frame in enumerate(frames)] == [True] * COUNT
