"""What a command does, step by step, a line for each with the time it took."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError
from httpx import HTTPError
from websockets.exceptions import WebSocketException

BROKEN = (BotoCoreError, ClientError, HTTPError, WebSocketException, OSError)
"""What calls over the network end with."""


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


class StepFailedError(Exception):
    """A step found something else than it should."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Does steps and says how they went."""

    say: Callable[[str], None] = say
    now: Callable[[], float] = time.monotonic

    def do(self, name: str, work: Callable[[], str]) -> None:
        """
        Do one; *work* returns what there is to tell.

        Raises:
            StepFailedError: it did not go well; was said.
        """
        began = self.now()
        try:
            told = work()
        except (StepFailedError, *BROKEN) as error:
            self.say(f"FAILED  {name:<10} {self.now() - began:7.2f} s  {error or type(error).__name__}")
            raise StepFailedError(name) from error
        self.say(f"ok      {name:<10} {self.now() - began:7.2f} s  {told}".rstrip())
