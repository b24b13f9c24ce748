"""Queries of the table."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from threadbox.queries import beginning, between, pages, partition

pytestmark = pytest.mark.moto

CONDITIONS = [
    (partition("t"), ["CUT#1", "MSG#1", "MSG#2", "MSG#3"]),
    (beginning("t", "MSG#"), ["MSG#1", "MSG#2", "MSG#3"]),
    (between("t", "CUT#1", "MSG#2"), ["CUT#1", "MSG#1", "MSG#2"]),
    (partition("u"), ["MSG#1"]),
]


@pytest.fixture
def full(table):
    for thread, sort_key in (("t", "CUT#1"), ("t", "MSG#1"), ("t", "MSG#2"), ("t", "MSG#3"), ("u", "MSG#1")):
        table.put_item(Item={"thread_id": thread, "sk": sort_key, "about": "it"})
    return table


@pytest.mark.parametrize(("items", "expected"), CONDITIONS, ids=["partition", "beginning", "between", "other"])
def test_query_finds_what_its_condition_names(full, items, expected):
    """On as many pages as it takes, in the order of the sort keys."""
    assert expected == [item["sk"] for item in pages(full, items, Limit=1)]
    assert [{"sk": sort_key} for sort_key in expected] == list(pages(full, items, projection="sk"))


def test_queries_of_several_threads_are_not_mixed_up(full):
    """A turn reads its messages while its sockets are read, by the same resource: each gets what it asked for."""

    def ask(number):
        items, expected = CONDITIONS[number % len(CONDITIONS)]
        return expected == [item["sk"] for item in pages(full, items)]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))
