"""How a turn went: what its ``TURN#`` item keeps, and what the export tells."""

from typing import Any

from pydantic import BaseModel, ConfigDict

RECEIPTS = 500


class ToolReceipt(BaseModel):
    """One call of a tool: which, how it ended, and how long it took, where that is known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tool_call_id: str
    tool: str
    state: str
    exit_code: int | None = None
    duration_ms: int | None = None


class TurnRecord(BaseModel):
    """
    What is known of a turn when it ends, besides its outcome.

    ``tokens`` are counted by the model's provider: ``inputTokens``, ``outputTokens``, ``reasoningTokens``,
    ``totalTokens``. An item has its limits: of more tools than a turn ever calls the first 500 are kept.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    ttft_ms: int | None = None
    answered_by: str | None = None
    tokens: dict[str, int] = {}
    tools: list[ToolReceipt] = []

    def attributes(self) -> dict[str, Any]:
        """Return the item's attributes; what is not known is not among them."""
        bounded = self.model_copy(update={"tools": self.tools[:RECEIPTS]})
        return bounded.model_dump(exclude_none=True, exclude_defaults=True)
