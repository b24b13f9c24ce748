"""Who may have a sandbox: feature flags that operators switch (docs/rollout.md)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aws_lambda_powertools.utilities.feature_flags import ConfigurationStoreError, FeatureFlags, StoreProvider
from aws_lambda_powertools.utilities.feature_flags.exceptions import SchemaValidationError, StoreClientError

from threadbox.errors import RolloutUnreadableError, SandboxNotEnabledError
from threadbox.telemetry import logger
from threadbox.threads import ThreadStore

SANDBOXES = "sandboxes"
"""The flag that is on for whoever may have a sandbox; its rules know the ``user_id`` of a thread's owner."""
STOPPED = "sandboxes_stopped"
"""The flag that is on while nobody may have a new one."""
FLAGS_SECONDS = 5
"""How long flags that were read count."""
TRIES = 2


@dataclass(slots=True, kw_only=True)
class Rollout:
    """Decides it; *stores* begins to read the flags anew."""

    threads: ThreadStore
    stores: Callable[[], StoreProvider]
    _flags: FeatureFlags | None = field(default=None, init=False)

    def admit(self, thread_id: str) -> None:
        """
        See that the thread's owner may have a new sandbox.

        Raises:
            SandboxNotEnabledError: not this user, or nobody for now.
            RolloutUnreadableError: who may cannot be told.
        """
        flags = self._read()
        user_id = self.threads.find_owner(thread_id) or ""
        if _is_on(flags, STOPPED, user_id):
            raise SandboxNotEnabledError("No new sandboxes are started for now. Please try again later.")
        if not _is_on(flags, SANDBOXES, user_id):
            raise SandboxNotEnabledError("Sandboxes are not enabled for you.")

    def _read(self) -> FeatureFlags:
        """Return flags that have been read within their time, if need be from another store than before."""
        for _ in range(TRIES):
            flags = self._flags or FeatureFlags(store=self.stores())
            try:
                flags.get_configuration()
            except (ConfigurationStoreError, StoreClientError, SchemaValidationError) as exc:
                logger.warning("flags unreadable", cause=str(exc.__cause__ or exc))
                # AppConfig's sessions end, and a store does not get over the end of its own.
                self._flags = None
            else:
                self._flags = flags
                return flags
        raise _unreadable()


def _is_on(flags: FeatureFlags, name: str, user_id: str) -> bool:
    try:
        # It reads them once more if their time is over by now.
        value = flags.evaluate(name=name, context={"user_id": user_id}, default=None)
    except (StoreClientError, SchemaValidationError) as exc:
        raise _unreadable() from exc
    if not isinstance(value, bool):
        raise _unreadable()
    return value


def _unreadable() -> RolloutUnreadableError:
    return RolloutUnreadableError("The sandbox could not be started just now.", retry_after=5)
