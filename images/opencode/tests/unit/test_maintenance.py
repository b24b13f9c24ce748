"""Work that needs OpenCode idle, and the prompts around it."""

import asyncio
from dataclasses import dataclass, field

import pytest

from sandboxd.errors import NotReadyError
from sandboxd.maintenance import Maintenance
from sandboxd.tasks import Tasks

pytestmark = pytest.mark.anyio


@dataclass
class House:
    """Something to maintain, with a journal of what happened."""

    held_seconds: float = 5
    busy: bool = False
    journal: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.maintenance = Maintenance(
            busy=self.is_busy, tasks=Tasks(failed=lambda: self.journal.append("failed")), held_seconds=self.held_seconds
        )

    async def is_busy(self) -> bool:
        return self.busy

    async def work(self) -> None:
        self.journal.append("begun")
        self.begun.set()
        await self.release.wait()
        self.journal.append("done")

    async def prompt(self) -> None:
        await self.maintenance.admit(lambda: self.journal.append("prompt"))


async def test_prompt_waits_for_the_work() -> None:
    """It comes while work is being done, or just before it would have begun."""
    house = House()
    house.maintenance.want(house.work)
    prompt = asyncio.create_task(house.prompt())
    await house.begun.wait()
    house.release.set()
    await prompt

    assert house.journal == ["begun", "done", "prompt"]
    assert not house.maintenance.wanted


async def test_prompt_that_waits_too_long_is_refused() -> None:
    """And is not handed over later; the work goes on."""
    house = House(held_seconds=0.05)
    house.maintenance.want(house.work)
    with pytest.raises(NotReadyError):
        await house.prompt()
    house.release.set()
    await house.maintenance.settled()

    assert house.journal == ["begun", "done"]


async def test_work_waits_for_the_turn_and_prompts_of_the_turn_do_not_wait() -> None:
    """What is wanted cuts nothing off; it is done when the turn is over, before the next prompt."""
    house = House(busy=True)
    house.maintenance.want(house.work)
    await house.prompt()
    house.busy = False
    house.release.set()
    await house.prompt()

    assert house.journal == ["prompt", "begun", "done", "prompt"]


async def test_several_kinds_of_work_are_done_one_after_the_other() -> None:
    """And a prompt comes after all of them."""
    house = House()
    house.release.set()
    house.maintenance.want(house.work)
    house.maintenance.want(house.work)
    await house.prompt()

    assert house.journal == ["begun", "done", "begun", "done", "prompt"]


async def test_work_that_became_needless_is_left() -> None:
    """Though a turn still runs."""
    house = House(busy=True)
    needless = False
    house.maintenance.want(house.work, needless=lambda: needless)
    await house.prompt()
    needless = True
    async with asyncio.timeout(5):
        await house.maintenance.settled()

    assert house.journal == ["prompt"]


async def test_work_that_earlier_work_made_needless_is_left() -> None:
    """Though it waited for nothing but that."""
    house = House()
    for _ in range(3):
        house.maintenance.want(house.work, needless=lambda: "done" in house.journal)
    await house.begun.wait()
    house.release.set()
    await house.prompt()

    assert house.journal == ["begun", "done", "prompt"]


async def test_prompt_that_was_taken_counts_before_work_is_thought_of() -> None:
    """From the moment it is taken OpenCode is busy with it."""
    house = House()

    def take() -> None:
        house.journal.append("prompt")
        house.busy = True

    await house.maintenance.admit(take)
    house.release.set()
    house.maintenance.want(house.work)
    await house.prompt()
    house.busy = False
    async with asyncio.timeout(5):
        await house.maintenance.settled()

    assert house.journal == ["prompt", "prompt", "begun", "done"]
