"""Tabs that come at any moment of a turn: each sees the whole answer, once, whatever the order of events."""

import pytest

from tests.unit.thread_world import play, seeds


@pytest.mark.parametrize("seed", seeds(12))
def test_every_tab_sees_the_whole_answer_once(table, seed, unhurried):
    """
    Tabs open, probe, acknowledge and ask, lose their connection and come back, answers begin, are handed over and end,
    in any order of the single calls.

    A tab gets no live frame between an offer and the beginning of its replay, and never one of what it was told is
    not there. What it shows of an answer in the end is the whole of it.
    """
    play(table, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(40, after=100))
def test_every_tab_sees_the_whole_answer_once_in_many_more_orders(table, seed, unhurried):
    """The same, for some minutes."""
    play(table, seed)
