"""Tells EventBridge about every change of a task, as ECS does: in order for each task, and never holding one up."""

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from local.ecs.tasks import Task

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "threadbox.ecs"
"""Nobody but AWS may send with the source ``aws.ecs``, so the template's rule matches this one too."""
DETAIL_TYPE = "ECS Task State Change"
GIVE_UP_SECONDS = 60.0
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0

logger = logging.getLogger(__name__)


class TaskEvents:
    """
    Sends events in the background.

    An event that EventBridge does not take within a minute is dropped: real events are hints, too, and get lost.
    """

    def __init__(self, client: "EventBridgeClient") -> None:
        self._client = client
        self._last: dict[str, asyncio.Task[None]] = {}

    def send(self, task: Task) -> None:
        """Tell of the task as it is now, after everything told of it before."""
        detail = json.dumps(task.event())
        sending = asyncio.create_task(self._send(task.arn, detail, after=self._last.get(task.id)))
        self._last[task.id] = sending
        sending.add_done_callback(lambda done: self._forget(task.id, done))

    async def close(self, *, patience: float) -> None:
        """Give what is under way *patience* seconds, then drop it."""
        pending = list(self._last.values())
        if pending:
            _, late = await asyncio.wait(pending, timeout=patience)
            for sending in late:
                sending.cancel()

    def _forget(self, task_id: str, done: asyncio.Task[None]) -> None:
        if self._last.get(task_id) is done:
            del self._last[task_id]

    async def _send(self, arn: str, detail: str, *, after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait([after])
        delay = FIRST_DELAY_SECONDS
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                while not await asyncio.to_thread(self._put, arn, detail):
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, LONGEST_DELAY_SECONDS)
        except TimeoutError:
            logger.warning("gave up telling EventBridge about %s", arn)

    def _put(self, arn: str, detail: str) -> bool:
        try:
            answer = self._client.put_events(
                Entries=[{"Source": SOURCE, "DetailType": DETAIL_TYPE, "Resources": [arn], "Detail": detail}]
            )
        except (BotoCoreError, ClientError) as error:
            logger.info("EventBridge did not take the event of %s: %s", arn, error)
            return False
        return answer["FailedEntryCount"] == 0
