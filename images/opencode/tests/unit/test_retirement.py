"""When a sandbox ends by itself, and what keeps it from that."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sandboxd.activity import Activity
from sandboxd.contract import ExitCode
from sandboxd.errors import EndingError
from sandboxd.maintenance import Maintenance
from sandboxd.retirement import OVERDUE_SECONDS, OVERTIME_SECONDS, Retirement
from sandboxd.tasks import Tasks

pytestmark = pytest.mark.anyio

IDLE, LIFE = 900, 43_200


@dataclass
class Keeper:
    """A saver that does what the test says."""

    unsaved: bool = False
    saves: int = 0
    meanwhile: Callable[[], object] = lambda: None

    async def finish(self) -> None:
        self.saves += 1
        self.meanwhile()


@dataclass
class House:
    """A sandbox that is ready, and a clock that its watch moves."""

    time: float = 0
    works: bool = False
    ended: list[ExitCode] = field(default_factory=list)
    saver: Keeper = field(default_factory=Keeper)
    plan: dict[int, Callable[[], object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.activity = Activity(now=self.now)
        self.maintenance = Maintenance(busy=self.at_work, tasks=Tasks(failed=lambda: None), held_seconds=5)
        self.retirement = Retirement(
            activity=self.activity,
            maintenance=self.maintenance,
            works=self.at_work,
            end=self.ended.append,
            idle_seconds=IDLE,
            life_seconds=LIFE,
            saver=self.saver,
            now=self.now,
            pause=self.pass_time,
        )

    def now(self) -> float:
        return self.time

    async def at_work(self) -> bool:
        return self.works

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and what the plan has for it happen."""
        self.time += seconds
        for at in [at for at in self.plan if at <= self.time]:
            self.plan.pop(at)()
        if self.time > LIFE * 2:
            raise TimeoutError

    async def watch(self) -> float:
        """Watch to the end, and return when that was."""
        await self.retirement.watch()
        return self.time


@pytest.fixture
async def house() -> House:
    return House()


async def test_idle_for_so_long_ends_it(house: House) -> None:
    """It saves first, once."""
    assert (await house.watch(), house.saver.saves) == (IDLE, 1)
    assert house.ended == [ExitCode.IDLE]


async def test_whatever_happens_begins_the_time_anew(house: House) -> None:
    """An event of a turn, a call, a command."""
    house.plan = {800: house.activity.touch, 1600: house.activity.touch}
    assert await house.watch() == 1600 + IDLE


async def test_what_goes_on_keeps_it(house: House) -> None:
    """However long it takes without a word: a command, or a turn whose tool is at work."""
    command = house.activity.busy("exec")
    house.plan = {10: command.__enter__, 5000: lambda: command.__exit__(None, None, None)}
    assert await house.watch() == 5000 + IDLE


async def test_turn_without_a_word_keeps_it(house: House) -> None:
    """OpenCode is asked before anything is ended."""

    def end_turn() -> None:
        house.works = False
        house.activity.touch()

    house.works = True
    house.plan = {5000: end_turn}
    assert await house.watch() == 5000 + IDLE


async def test_message_while_it_saves_cancels_the_exit(house: House) -> None:
    """And the next time it saves again."""

    def ask() -> None:
        house.saver.meanwhile = lambda: None
        house.activity.touch()

    house.saver.meanwhile = ask
    assert (await house.watch(), house.saver.saves) == (2 * IDLE, 2)


async def test_nothing_unsaved_is_left_behind(house: House) -> None:
    """It stays until it is saved; what is too old does not stay for ever."""
    house.saver.unsaved = True

    def saved() -> None:
        house.saver.unsaved = False

    house.plan = {7000: saved}
    assert 7000 <= await house.watch() <= 7010
    house.ended.clear()


async def test_what_cannot_be_saved_ends_some_day(house: House) -> None:
    """The hard lifetime is hard."""
    house.saver.unsaved = True
    assert LIFE + OVERTIME_SECONDS <= await house.watch() <= LIFE + OVERTIME_SECONDS + 10
    assert house.ended == [ExitCode.TOO_OLD]


async def test_what_hangs_is_no_turn(house: House) -> None:
    """An OpenCode that does not say what it does counts as busy, but not for ever."""
    house.works = True
    assert LIFE + OVERDUE_SECONDS <= await house.watch() <= LIFE + OVERDUE_SECONDS + 10
    assert house.ended == [ExitCode.TOO_OLD]


async def test_too_old_ends_between_turns(house: House) -> None:
    """However busy its day is; a turn that runs then is not cut off."""
    house.plan = dict.fromkeys(range(100, LIFE + 200, 100), house.activity.touch)

    def begin() -> None:
        house.works = True

    def end() -> None:
        house.works = False

    house.plan |= {LIFE - 50: begin, LIFE + 150: end}
    assert LIFE + 150 <= await house.watch() <= LIFE + 160
    assert house.ended == [ExitCode.TOO_OLD]


async def test_prompt_after_the_decision_is_refused_in_words(house: House) -> None:
    """Nothing is given to an OpenCode that is about to be ended: whoever asked hears that the sandbox is ending."""
    await house.watch()
    taken: list[str] = []
    with pytest.raises(EndingError):
        await house.maintenance.admit(lambda: taken.append("prompt"))
    assert taken == []


async def test_prompt_at_the_last_moment_keeps_it(house: House) -> None:
    """Between the decision and the closed door there is one lock: the prompt has it first, or not at all."""
    seen = house.activity.moves
    async with asyncio.TaskGroup() as group:
        group.create_task(house.maintenance.admit(house.activity.touch))
        closed = group.create_task(house.maintenance.close_unless(lambda: house.activity.moves != seen))
    assert not closed.result()
    await house.maintenance.admit(house.activity.touch)
