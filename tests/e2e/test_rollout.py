"""Switching who gets a sandbox, as an operator does it, on a stack of its own: a switch is everybody's."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from local.stack.stack_file import StackFile
from sandbox_ctl.rollout import FLAGS_SECONDS
from tests.e2e.threads import Thread
from tests.stacks import ROOT, own_stack, stack_file, tokens_of
from tests.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.own_stack]

SWITCH_SECONDS = 60


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Iterator[Path]:
    """The state directory of a stack of its own."""
    with own_stack(tmp_path_factory.mktemp("rollout")) as state:
        yield state


@pytest.fixture(scope="module")
def stack(state) -> StackFile:
    return stack_file(state)


@pytest.fixture
def rollout(state, monkeypatch) -> Callable[..., str]:
    """The operators' command; it prints what is in force."""
    monkeypatch.setenv("THREADBOX_STATE", str(state))

    def rollout(*options: str) -> str:
        told = subprocess.run(
            [sys.executable, "-m", "operate.rollout", "--env", "local", *options],
            cwd=ROOT, capture_output=True, text=True, timeout=SWITCH_SECONDS, check=True,
        ).stdout  # fmt: skip
        if options:
            # What a function read before counts for so long, and no longer.
            end = monotonic() + FLAGS_SECONDS
            eventually(lambda: monotonic() > end)
        return told

    return rollout


@pytest.fixture
def thread_of(stack) -> Iterator[Callable[[str], Thread]]:
    """Makes new threads of users; their sandboxes end with the test."""
    threads: list[Thread] = []

    def thread_of(user: str) -> Thread:
        threads.append(Thread(stack, tokens_of(stack), user=user))
        return threads[-1]

    yield thread_of
    for thread in threads:
        thread.close()


def asked(thread: Thread) -> tuple[str, str | None]:
    """Ask, and return how that ended, with the code of an error."""
    with thread.tab() as tab:
        answer = tab.answer(tab.ask("hello"))
    return answer.outcome, answer.last.get("code")


def test_switched_off_there_are_no_new_sandboxes_and_those_that_run_go_on(rollout, thread_of):
    """A tab is told so in a frame, a route in 403; switched on again, the same thread is answered."""
    assert rollout() == "sandboxes: for everybody\n"
    warm, cold = thread_of("ann"), thread_of("ann")
    assert asked(warm) == ("completed", None)

    for off, on in (("off", "all"), ("stop", "resume")):
        rollout("--to", off)
        assert asked(cold) == ("error", "sandbox_not_enabled")
        refused = cold.http.post(f"/api/sandbox/{cold.name}")
        assert (refused.status_code, refused.json()["code"]) == (403, "sandbox_not_enabled")
        assert cold.sandbox()["state"] == "stopped"
        assert asked(warm) == ("completed", None)
        rollout("--to", on)

    assert rollout() == "sandboxes: for everybody\n"
    assert asked(cold) == ("completed", None)


def test_list_lets_its_users_in(rollout, thread_of):
    """And nobody else."""
    rollout("--to", "list", "--users", "bob, cid")
    assert rollout() == "sandboxes: for the listed\n  bob\n  cid\n"

    assert asked(thread_of("ann")) == ("error", "sandbox_not_enabled")
    assert asked(thread_of("bob")) == ("completed", None)
    rollout("--to", "all")
