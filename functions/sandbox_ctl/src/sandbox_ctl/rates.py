"""How often something may be done: exact, however many do it at once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from threadbox.clock import unix_time
from threadbox.errors import RateLimitedError
from threadbox.updates import update_if

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

MINUTE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RateStore:
    """
    The ``RATE#…`` items of a thread: how often it was done in a minute of the clock.

    Each use is one conditional write, so that of those who come at the same time as many get through as may.
    """

    table: "Table"
    what: str
    per_minute: int
    now: Callable[[], float] = unix_time

    def take(self, thread_id: str) -> None:
        """
        Count one more.

        Raises:
            RateLimitedError: there were as many as may be in this minute.
        """
        now = int(self.now())
        key = {"thread_id": thread_id, "sk": f"RATE#{self.what}"}
        this = now // MINUTE
        another = partial(
            update_if,
            self.table,
            key,
            update="SET used = used + :one",
            condition="counted_minute = :this AND used < :most",
            values={":one": 1, ":this": this, ":most": self.per_minute},
        )
        first = partial(
            update_if,
            self.table,
            key,
            update="SET counted_minute = :this, used = :one",
            condition="attribute_not_exists(counted_minute) OR counted_minute < :this",
            values={":one": 1, ":this": this},
        )
        # Who is not the first of a minute after all is another one of it.
        if any(write() is not None for write in (another, first, another)):
            return
        raise RateLimitedError("Too many commands this minute.", retry_after=MINUTE - now % MINUTE)
