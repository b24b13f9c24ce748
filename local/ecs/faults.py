"""Faults on request: lets a test make the local ECS fail in the ways the real one does."""

from collections import Counter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Fault = Literal["throttle", "no_capacity", "lose_response"]


class FaultOrder(BaseModel):
    """
    The next *count* RunTask calls fail.

    ``throttle`` and ``no_capacity`` start nothing; ``lose_response`` starts the task and answers an empty 502.
    """

    model_config = ConfigDict(extra="forbid")

    run_task: Fault
    count: int = Field(default=1, ge=0, le=1000)


class Faults:
    """The faults ordered and not yet had."""

    def __init__(self) -> None:
        self._left: Counter[tuple[str, str]] = Counter()

    def order(self, order: FaultOrder) -> None:
        """Have the next calls fail; a count of 0 takes an order back."""
        self._left["run_task", order.run_task] = order.count

    def due(self, operation: str, fault: str) -> bool:
        """Whether this call of the operation is to fail so; counts it."""
        if self._left[operation, fault] == 0:
            return False
        self._left[operation, fault] -= 1
        return True
