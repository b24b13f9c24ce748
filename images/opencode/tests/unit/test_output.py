"""What is kept of what a command prints."""

import json

from hypothesis import given
from hypothesis import strategies as st

from sandboxd.output import Kept

PIECES = st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode)), max_size=12)


@given(pieces=PIECES, limit=st.integers(4, 16))
def test_reader_that_keeps_up_misses_nothing(pieces: list[bytes], limit: int) -> None:
    """Whatever the sizes of what is printed and read, the texts together are the text of all of it."""
    kept = Kept(10_000)
    told, at = "", 0
    for piece in pieces:
        kept.add(piece)
        text, at = kept.read(at, limit)
        told += text
    kept.close()
    while at < kept.end:
        text, at = kept.read(at, limit)
        told += text

    assert told == b"".join(pieces).decode(errors="replace")


@given(pieces=PIECES, kept_bytes=st.integers(1, 30))
def test_only_the_end_is_kept(pieces: list[bytes], kept_bytes: int) -> None:
    """Never more than the limit; what was dropped is said to be missing."""
    kept = Kept(kept_bytes)
    for piece in pieces:
        kept.add(piece)
    kept.close()
    total = len(b"".join(pieces))

    assert (len(kept), kept.end, kept.truncated) == (min(total, kept_bytes), total, total > kept_bytes)


def test_text_is_not_torn_where_its_beginning_was_dropped() -> None:
    """Half a character at the cut is left out, and not shown as something that nobody printed."""
    kept = Kept(5)
    kept.add("ä€ö".encode())
    kept.close()

    assert kept.read(0, 100) == ("€ö", 7)


@given(text=st.text(min_size=1), limit=st.integers(2, 60))
def test_tail_fits(text: str, limit: int) -> None:
    """As JSON it is no longer than may be, whatever it takes to write it as JSON; it is the end of the text."""
    kept = Kept(10_000)
    kept.add(text.encode())
    kept.close()
    tail, whole = kept.tail(limit)

    assert len(json.dumps(tail, ensure_ascii=False).encode()) <= limit
    assert (text.endswith(tail), whole) == (True, tail == text)
