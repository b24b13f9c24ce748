"""Handing a claimed turn, or a socket that came back, to the turn function, by an asynchronous invoke."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from threadbox.errors import RateLimitedError
from threadbox.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from chat.turn import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDispatcher:
    """Invokes the turn function."""

    client: "LambdaClient"
    function: str

    def dispatch(self, thread_id: str, request_id: str, invocation: str) -> None:
        """
        Start the turn function for a queued turn, by the name of the invocation it waits for.

        By it Lambda's report of a failure is told from one of another. Doing it twice runs the turn once.

        Raises:
            RateLimitedError: Lambda does not take the invoke.
        """
        self._invoke(thread_id=thread_id, request_id=request_id, invocation=invocation)

    def dispatch_return(self, turn: "Turn", connection_id: str) -> None:
        """Have the turn function see to a socket whose client came back to an answer that has ended, if Lambda can."""
        try:
            self._invoke(thread_id=turn.thread_id, request_id=turn.request_id, connection_id=connection_id)
        except RateLimitedError:
            # It has what was stored when it is loaded anew.
            logger.warning("return not seen to", thread_id=turn.thread_id, connection_id=connection_id)

    def _invoke(self, **payload: str) -> None:
        try:
            self.client.invoke(FunctionName=self.function, InvocationType="Event", Payload=json.dumps(payload))
        except (ClientError, BotoCoreError) as exc:
            raise RateLimitedError("Too much is going on just now. Please try again.", retry_after=5) from exc
