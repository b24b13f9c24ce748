"""The tool policy in force: what OpenCode was started with, and the way to another one."""

from collections.abc import Callable

from sandboxd.contract import Policy
from sandboxd.maintenance import Maintenance
from sandboxd.opencode import Launch
from sandboxd.permissions import ToolPolicy
from sandboxd.supervisor import Supervisor


class PolicyKeeper:
    """
    Takes the newest policy, and starts OpenCode anew with it when that is idle, before the next prompt.

    *launch* says what OpenCode is started with under a policy. *before* is done first, as what it does would be cut
    off; *between* while there is none.
    """

    def __init__(
        self,
        bound: Policy,
        *,
        launch: Callable[[ToolPolicy], Launch],
        supervisor: Supervisor,
        maintenance: Maintenance,
        before: Callable[[], object],
        between: Callable[[], object],
    ) -> None:
        self._told = bound
        self._in_force = bound.policy
        self._launch = launch
        self._supervisor = supervisor
        self._maintenance = maintenance
        self._before = before
        self._between = between

    @property
    def told(self) -> Policy:
        """The newest policy that the control plane has told: what counts for the next prompt."""
        return self._told

    def put(self, policy: Policy) -> Policy:
        """Take *policy*, unless it is not newer than the one there is; return the one there is then."""
        if policy.version > self._told.version:
            self._told = policy
            if not self._settled():
                self._maintenance.want(self._start_anew, needless=self._settled, strict=True)
        return self._told

    def _settled(self) -> bool:
        return self._told.policy is self._in_force

    async def _start_anew(self) -> None:
        self._before()
        self._in_force = self._told.policy
        await self._supervisor.restart(
            f"tool policy {self._in_force}", between=self._between, launch=self._launch(self._in_force)
        )
