"""The Prefer header, as RFC 7240 has it."""

import pytest

from threadbox.preferences import Preferences


@pytest.mark.parametrize(
    ("header", "respond_async", "wait"),
    [
        ("", False, None),
        ("respond-async", True, None),
        ("Respond-Async, WAIT=10", True, 10),
        ("wait=5", False, 5),
        ('wait="5"', False, 5),
        ("wait = 5", False, 5),
        ("wait=5; foo=bar, respond-async", True, 5),
        ('respond-async; q="a, b", wait=3', True, 3),
        ("wait=5, wait=9", False, 5),
        ("wait", False, None),
        ("wait=", False, None),
        ("wait=-1", False, None),
        ("wait=soon", False, None),
        ("wait=99999999999", False, None),
        ("wait=٣", False, None),
        ('foo="respond-async, wait=4"', False, None),
        ("return=minimal, handling=lenient", False, None),
        (',, "broken, respond-async', True, None),
        ("respond-async wait=3", False, None),
    ],
)
def test_header_is_parsed(header, respond_async, wait):
    """Names are case-insensitive, the first of two counts, and what is not understood is left out."""
    assert Preferences(respond_async, wait) == Preferences.parse(header)


@pytest.mark.parametrize(
    ("header", "seconds", "applied"),
    [
        ("", 25, ""),
        ("respond-async", 0, "respond-async"),
        ("wait=5", 5, "wait=5"),
        ("respond-async, wait=5", 5, "respond-async, wait=5"),
        ("wait=60", 25, "wait=60"),
    ],
)
def test_how_long_is_waited(header, seconds, applied):
    """``respond-async`` alone answers at once; ``wait`` shortens, and never lengthens."""
    prefer = Preferences.parse(header)
    assert (seconds, applied) == (prefer.seconds(25), prefer.applied())
