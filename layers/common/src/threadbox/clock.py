"""The clock, as a callable that tests replace."""

from time import time


def unix_time() -> float:
    """Return seconds since the epoch."""
    return time()
