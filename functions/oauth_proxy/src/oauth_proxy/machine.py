"""Starting the state machine that waits for an attempt's end (statemachines/signin.asl.json)."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from threadbox.errors import RateLimitedError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True, slots=True, kw_only=True)
class SigninMachine:
    """Starts executions."""

    client: "SFNClient"
    machine: str

    def start(self, thread_id: str, attempt_id: str) -> None:
        """
        Have the attempt waited for. The attempt's id names the execution: however often it is started, it is one.

        Raises:
            RateLimitedError: Step Functions does not take it just now.
        """
        wait = json.dumps({"thread_id": thread_id, "attempt_id": attempt_id})
        try:
            self.client.start_execution(stateMachineArn=self.machine, name=attempt_id, input=wait)
        except self.client.exceptions.ExecutionAlreadyExists:
            return
        except (ClientError, BotoCoreError) as exc:
            raise RateLimitedError("Too much is going on just now. Please try again.", retry_after=5) from exc
