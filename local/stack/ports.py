"""The block of ports a stack uses: found by the stack's place, so that two stacks do not meet."""

import socket
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

FIRST = 21000
SIZE = 20
BLOCKS = 450
OFFSETS = {"aws": 0, "ecs": 1, "web": 2, "model": 3, "idp": 4, "idp_proxy": 5, "gateway": 6, "edge": 7}


class PortsBusyError(Exception):
    """The block cannot be used."""


@dataclass(frozen=True, slots=True)
class Ports:
    """A block of ports, by its first."""

    base: int

    def __getitem__(self, part: str) -> int:
        return self.base + OFFSETS[part]

    def all(self) -> dict[str, int]:
        """Each part's port."""
        return {part: self[part] for part in OFFSETS}

    @property
    def sandbox_network(self) -> str:
        """The first two places of the sandboxes' addresses."""
        return f"127.{64 + self.base // SIZE % 128}"

    def busy(self) -> list[int]:
        """Those of its ports on which somebody listens."""
        return [port for port in self.all().values() if not is_free(port)]


def choose_ports(state: Path, *, wanted: int | None, remembered: int | None) -> Ports:
    """
    A free block: the wanted one, else that of last time, else the one of the state directory, else the next.

    Raises:
        PortsBusyError: the wanted block is in use, or all are.

    """
    if wanted is not None:
        if busy := Ports(wanted).busy():
            raise PortsBusyError(f"THREADBOX_PORT_BASE={wanted}: something else listens on {busy}")
        return Ports(wanted)
    if remembered is not None and not Ports(remembered).busy():
        return Ports(remembered)
    start = int.from_bytes(sha256(str(state).encode()).digest()[:4])
    for step in range(BLOCKS):
        ports = Ports(FIRST + (start + step) % BLOCKS * SIZE)
        if not ports.busy():
            return ports
    raise PortsBusyError(f"every block of ports from {FIRST} on is in use")


def is_free(port: int) -> bool:
    """Whether nobody listens on that port of 127.0.0.1."""
    with socket.socket() as probe:
        # Without this a port would count as busy for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
