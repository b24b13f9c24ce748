"""Fixtures of the end-to-end tests."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.e2e.threads import Thread


@pytest.fixture
def thread(stack, token) -> Iterator[Thread]:
    """A new thread; its sandbox ends with the test."""
    with closing(Thread(stack, token)) as thread:
        yield thread


@pytest.fixture(scope="module")
def shared(stack, token) -> Iterator[Thread]:
    """One thread for tests that do not mind what was said before: a sandbox takes its time to start."""
    with closing(Thread(stack, token)) as thread:
        yield thread
