"""
The audit trail: who did what to a thread, in a log group of its own that functions can add to and nothing more.

A line is JSON: when it was (milliseconds since the epoch), what, which thread, who, the correlation id of the lines in
the other logs, and a few details. Threads and users stand there as hashes (:func:`threadbox.identifiers.opaque_hash`);
no name, token, command or file does. It outlives the thread (docs/adr/0020).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from threadbox.clock import unix_time
from threadbox.identifiers import opaque_hash, thread_hash
from threadbox.measures import count
from threadbox.telemetry import correlation, logger

Action = Literal[
    "socket_opened",
    "codex_connected",
    "codex_disconnected",
    "command_run",
    "command_killed",
    "checkout_run",
    "sandbox_stopped",
    "tool_policy_changed",
    "thread_deleted",
]
"""
What is recorded. ``socket_opened`` and ``codex_connected`` once it has happened; everything else once it is allowed and
before it is done, so that nothing that a user asks for is done, or half done, without a line.
"""


LOGS_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})
"""How that client is to be made: whoever acts waits for it."""


class LogsClient(Protocol):
    """What is used of boto3's client for CloudWatch Logs."""

    def create_log_stream(self, **request: Any) -> Any:
        """Make a stream."""

    def put_log_events(self, **request: Any) -> Any:
        """Add lines to one."""


class Recorder(Protocol):
    """Records what one user does to one thread: :meth:`AuditTrail.record` without these two."""

    def __call__(self, action: Action, /, **details: str | int) -> None:
        """Add a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTrail:
    """Adds to the trail, in a ``stream`` that nobody else writes to; ``client`` is made when it is first needed."""

    client: Callable[[], LogsClient]
    group: str
    stream: str
    now: Callable[[], float] = unix_time

    def record(self, action: Action, *, thread_id: str, user_id: str, **details: str | int) -> None:
        """
        Add a line.

        One that the trail does not take is put into the function's own log, and counted; the caller goes on.

        *details* may be names of ours, numbers and yes or no, never what a user wrote.
        """
        at = int(self.now() * 1000)
        line = {
            "at": at,
            "action": action,
            "thread": thread_hash(thread_id),
            "user": opaque_hash(user_id),
            "correlation_id": correlation(),
            **details,
        }
        try:
            self._put(at, json.dumps(line))
        except (ClientError, BotoCoreError) as error:
            logger.error("audit line not taken", line=line, cause=_cause(error))
            count("AuditFailures")

    def _put(self, at: int, message: str) -> None:
        place = {"logGroupName": self.group, "logStreamName": self.stream}
        event = {"timestamp": at, "message": message}
        try:
            self.client().put_log_events(**place, logEvents=[event])
        except ClientError as error:
            if _cause(error) != "ResourceNotFoundException":
                raise
            self._create_stream(place)
            self.client().put_log_events(**place, logEvents=[event])

    def _create_stream(self, place: dict[str, str]) -> None:
        try:
            self.client().create_log_stream(**place)
        except ClientError as error:
            # Two threads of one function may be the first.
            if _cause(error) != "ResourceAlreadyExistsException":
                raise


def _cause(error: Exception) -> str:
    code: str | None = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
    return code or type(error).__name__
