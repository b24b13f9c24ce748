"""Waiting for something to happen, with a bound."""

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TypeVar

T = TypeVar("T")
LOOK_EVERY = 0.05


def eventually(condition: Callable[[], T], *, seconds: float = 30) -> T:
    """
    Return the first truthy answer of *condition*.

    Raises:
        AssertionError: there was none within *seconds*.
    """
    end = monotonic() + seconds
    while not (answer := condition()):
        assert monotonic() < end, f"it did not happen within {seconds} s"
        Event().wait(LOOK_EVERY)
    return answer
