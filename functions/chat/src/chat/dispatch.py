"""Handing a claimed turn to the turn function, by an asynchronous invoke."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from threadbox.errors import RateLimitedError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDispatcher:
    """Invokes the turn function."""

    client: "LambdaClient"
    function: str

    def dispatch(self, thread_id: str, request_id: str) -> None:
        """
        Start the turn function for a claimed turn. Doing it twice runs the turn once.

        Raises:
            RateLimitedError: Lambda does not take the invoke.
        """
        payload = json.dumps({"thread_id": thread_id, "request_id": request_id})
        try:
            self.client.invoke(FunctionName=self.function, InvocationType="Event", Payload=payload)
        except (ClientError, BotoCoreError) as exc:
            raise RateLimitedError("Too much is going on just now. Please try again.", retry_after=5) from exc
