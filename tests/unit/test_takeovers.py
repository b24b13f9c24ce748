"""Functions that are killed in the middle of a turn: another one goes on, and every tab sees the whole answer."""

import pytest

from tests.unit.thread_world import play, seeds

DEATHS = 3


def play_with_deaths(table, seed):
    """Let functions die among the events; what is stored is exact, and each death shows one frame twice at most."""
    thread = play(table, seed, deaths=DEATHS)
    assert thread.stored == thread.answers
    assert all(repeated <= thread.died for repeated in thread.repeated)


@pytest.mark.parametrize("seed", seeds(20))
def test_answer_is_whole_whatever_dies(table, seed, unhurried):
    """
    A function may die before, between and after any call to DynamoDB, and with any of its posts on their way; Lambda
    reports it late, or more than once.

    In the end every tab shows what was said, and so does the store; every request has ended.
    """
    play_with_deaths(table, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(60, after=100))
def test_answer_is_whole_whatever_dies_in_many_more_orders(table, seed, unhurried):
    """The same, for some minutes."""
    play_with_deaths(table, seed)
