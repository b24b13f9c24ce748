"""The tool policy: which one counts, and when OpenCode is started anew for it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandboxd.contract import Policy
from sandboxd.maintenance import Maintenance
from sandboxd.opencode import ALONE, compose_launch
from sandboxd.permissions import NOTHING, PERMISSIONS, ToolPolicy
from sandboxd.policy import PolicyKeeper
from sandboxd.tasks import Tasks

pytestmark = pytest.mark.anyio


@dataclass
class House:
    """A policy's keeper, with a journal of what it has done to OpenCode."""

    busy: bool = False
    journal: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.maintenance = Maintenance(
            busy=self.is_busy, tasks=Tasks(failed=lambda: self.journal.append("failed")), held_seconds=5
        )
        supervisor: Any = self
        self.keeper = PolicyKeeper(
            Policy(),
            launch=lambda policy: compose_launch({}, policy),
            supervisor=supervisor,
            maintenance=self.maintenance,
            before=lambda: self.journal.append("before"),
            between=lambda: None,
        )

    async def is_busy(self) -> bool:
        return self.busy

    async def restart(self, reason: str, **_: object) -> None:
        self.journal.append(reason)

    async def prompt(self) -> None:
        await self.maintenance.admit(lambda: self.journal.append("prompt"))

    def put(self, policy: str, version: int) -> Policy:
        return self.keeper.put(Policy(policy=ToolPolicy(policy), version=version))


async def test_next_prompt_comes_under_the_new_policy() -> None:
    """Even where OpenCode is still busy with an earlier one: a prompt behind that would come under the old policy."""
    house = House(busy=True)
    house.put("none", 1)
    prompt = asyncio.create_task(house.prompt())
    for _ in range(20):
        await asyncio.sleep(0)
    before, house.busy = list(house.journal), False
    await prompt

    assert (before, house.journal) == ([], ["before", "tool policy none", "prompt"])


async def test_what_is_not_newer_changes_nothing() -> None:
    """Calls may come twice, and late."""
    house = House()
    held = [house.put("none", 2), house.put("none", 2), house.put("read-write", 1)]
    await house.maintenance.settled()

    assert [Policy(policy=ToolPolicy.NONE, version=2)] * 3 == held
    assert house.journal == ["before", "tool policy none"]


async def test_policy_that_is_taken_back_in_time_costs_no_start() -> None:
    """OpenCode goes on as it is."""
    house = House(busy=True)
    house.put("none", 1)
    house.put("read-write", 2)
    house.busy = False
    await house.maintenance.settled()

    assert (house.journal, house.keeper.told.version) == ([], 2)


def test_read_write_is_as_without_a_policy() -> None:
    """It denies nothing, and reads what the workspace has of configurations."""
    launch = compose_launch({"model": "m"}, ToolPolicy.READ_WRITE)

    assert "deny" not in str(launch.config)
    assert (launch.environment, launch.config["model"]) == ({}, "m")


@pytest.mark.parametrize("policy", [ToolPolicy.NONE, ToolPolicy.READ_ONLY])
def test_restricted_agent_is_not_given_more_by_others(policy: ToolPolicy) -> None:
    """Not by the workspace's configuration, and by no agent's own permissions: each tool is named in ours."""
    launch = compose_launch({}, policy)
    config: Any = launch.config

    assert launch.environment == ALONE
    assert config["permission"] == config["agent"][config["default_agent"]]["permission"] == PERMISSIONS[policy]
    assert set(NOTHING) == set(PERMISSIONS[policy])
    assert {"bash", "edit", "task", "webfetch", "*"} <= {
        tool for tool, rule in config["permission"].items() if rule == "deny"
    }
