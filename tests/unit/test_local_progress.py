"""Steps side by side."""

import threading

import pytest

from local.stack.progress import Steps


def test_steps_wait_for_what_they_need():
    """
    One that needs another starts when that is done; the others run meanwhile.
    """
    done, meanwhile = [], threading.Event()

    def first() -> None:
        assert meanwhile.wait(timeout=5)
        done.append("first")

    with Steps(lambda _: None) as steps:
        needed = steps.add("first", first)
        steps.add("second", lambda: done.append("second"), after=[needed])
        steps.add("beside", meanwhile.set)

    assert done == ["first", "second"]


def test_the_first_failure_is_told():
    """
    Not that of a step which only could not start because of it.
    """

    def fail() -> None:
        raise ValueError("the reason")

    def fail_in_steps() -> None:
        with Steps(lambda _: None) as steps:
            failing = steps.add("failing", fail)
            steps.add("after", lambda: None, after=[failing])

    with pytest.raises(ValueError, match="the reason"):
        fail_in_steps()
