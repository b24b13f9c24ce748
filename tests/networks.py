"""
A program in a network of its own, as a task has on Fargate: what listens there is not reached from elsewhere.

A socket belongs to the network that it was made in, whoever holds it. So the program's one address outside is a
listener made there and handed in, and what it may reach of this machine's loopback are listeners made inside and
handed out::

    callers ──▶ address:port ═╪═▶ address:port of the program
                              │
    loopback:reach ◀──────────╪══ loopback:reach ◀── the program
"""

import asyncio
import fcntl
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from tests.stacks import ROOT

LOOPBACK = "127.0.0.1"
UNSHARE = ("unshare", "--map-root-user", "--net")
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
CHUNK = 65536
END_SECONDS = 20


class Plan(BaseModel):
    """What runs inside, where it is reached from outside, and which ports of the loopback outside it reaches."""

    command: list[str]
    address: str
    port: int
    reach: list[int]


def networks_work() -> bool:
    """Whether this machine lets its user have network namespaces."""
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


@contextmanager
def in_own_network(plan: Plan, *, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run the program until the end of the block; its output goes to *log*."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.networks", "outside", plan.model_dump_json()],
            cwd=ROOT, env=dict(environment), stdin=subprocess.PIPE, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield
    finally:
        try:
            process.communicate(timeout=END_SECONDS)
        finally:
            process.kill()
            process.wait()


async def outside(plan: Plan) -> int:
    """Let the program's callers in, and it out, until standard input ends."""
    ours, theirs = socket.socketpair()
    with ours, socket.create_server((plan.address, plan.port)) as listener:
        with theirs:
            inner = await asyncio.create_subprocess_exec(
                *UNSHARE, sys.executable, "-m", "tests.networks", "inside", plan.model_dump_json(),
                str(listener.fileno()), str(theirs.fileno()), pass_fds=[listener.fileno(), theirs.fileno()],
            )  # fmt: skip
        _, descriptors, _, _ = socket.recv_fds(ours, 1, len(plan.reach))
        for port, descriptor in zip(plan.reach, descriptors, strict=True):
            way_out = socket.socket(fileno=descriptor)
            await asyncio.start_server(partial(pass_on, LOOPBACK, port), sock=way_out)
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.remove_reader(sys.stdin)
            ours.shutdown(socket.SHUT_WR)

        loop.add_reader(sys.stdin, end)
        return await inner.wait()


async def inside(plan: Plan, listener: socket.socket, outer: socket.socket) -> int:
    """Run the program until it ends, or whoever is outside does."""
    bring_loopback_up()
    ways_out = [socket.create_server((LOOPBACK, port)) for port in plan.reach]
    socket.send_fds(outer, [b"."], [way_out.fileno() for way_out in ways_out])
    await asyncio.start_server(partial(pass_on, plan.address, plan.port), sock=listener)
    program = await asyncio.create_subprocess_exec(*plan.command)
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(outer)
        program.terminate()

    loop.add_reader(outer, end)
    return await program.wait()


async def pass_on(host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect a caller with what listens there; where nothing does, its connection just ends."""
    try:
        far_reader, far_writer = await asyncio.open_connection(host, port)
    except ConnectionError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
    for end in (writer, far_writer):
        end.close()


def bring_loopback_up() -> None:
    """A new network namespace has a loopback interface, but it is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(CHUNK):
            target.write(piece)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
    except ConnectionError:
        # Broken off on one side, it is on the other.
        target.transport.abort()


def main(where: str, plan: str, *descriptors: str) -> int:
    """Run one of the two sides."""
    told = Plan.model_validate_json(plan)
    if where == "outside":
        return asyncio.run(outside(told))
    listener, outer = (socket.socket(fileno=int(descriptor)) for descriptor in descriptors)
    return asyncio.run(inside(told, listener, outer))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
