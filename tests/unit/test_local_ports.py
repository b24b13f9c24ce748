"""Where a stack finds its ports."""

import socket

import pytest

from local.stack.ports import FIRST, SIZE, Ports, PortsBusyError, choose_ports


@pytest.fixture
def listener():
    """Somebody who listens on a port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_same_place_gets_the_same_ports(tmp_path):
    """
    And another place others, whole blocks apart.
    """
    here = choose_ports(tmp_path, wanted=None, remembered=None)

    assert choose_ports(tmp_path, wanted=None, remembered=None) == here
    assert choose_ports(tmp_path / "elsewhere", wanted=None, remembered=None) != here
    assert (here.base - FIRST) % SIZE == 0


def test_a_busy_block_is_passed_over(tmp_path, listener):
    """
    The remembered block is left when somebody else took one of its ports.
    """
    remembered = listener - 2

    ports = choose_ports(tmp_path, wanted=None, remembered=remembered)

    assert ports.base != remembered
    assert ports.busy() == []


def test_a_wanted_block_that_is_busy_is_an_error(tmp_path, listener):
    """
    Whoever asked for a block gets that one or is told which port is in the way.
    """
    with pytest.raises(PortsBusyError, match=str(listener)):
        choose_ports(tmp_path, wanted=listener - 3, remembered=None)


def test_sandboxes_get_a_network_of_the_block():
    """
    All of them lie in 127.64 to 127.191.
    """
    seconds = {int(Ports(base).sandbox_network.split(".")[1]) for base in range(FIRST, FIRST + 450 * SIZE, SIZE)}

    assert seconds == set(range(64, 192))
