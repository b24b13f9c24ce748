"""The loopback addresses of the local sandboxes: stands in for the addresses a VPC's subnets hand out."""

import itertools
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = 254
"""Addresses run from .1 to .254 in both of the last two places, so none looks like a network or a broadcast."""


class NoAddressError(Exception):
    """Every address of the network is in use."""


class AddressPool:
    """
    Hands out addresses of a 127.x network, each as late as possible after its last use, as a VPC does.

    Linux answers on all of 127.0.0.0/8, so nothing needs to be configured.
    """

    def __init__(self, network: str, *, port: int) -> None:
        """Take the first two places, such as ``127.65``, and the port that must be free on an address."""
        self._port = port
        self._used: set[str] = set()
        self._sequence: Iterator[str] = itertools.cycle(
            f"{network}.{third}.{fourth}" for third in range(1, HOSTS + 1) for fourth in range(1, HOSTS + 1)
        )

    def take(self) -> str:
        """
        An address nobody listens on.

        Raises:
            NoAddressError: all of them are taken.

        """
        for address in itertools.islice(self._sequence, HOSTS * HOSTS):
            if address not in self._used and self._is_free(address):
                self._used.add(address)
                return address
        raise NoAddressError("no free address left")

    def give_back(self, address: str) -> None:
        """The address may be used again."""
        self._used.discard(address)

    def _is_free(self, address: str) -> bool:
        # Another checkout's sandboxes may share the network: there are fewer networks than blocks of ports.
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, self._port))
            except OSError:
                return False
        return True
