"""What a user has answered to the agent: in frames of their own, or in the messages of a list that a tab echoes."""

from contextlib import suppress
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

# Most parts of a conversation are in another state, and need not be looked at closer.
ANSWERED = ("approval-responded", "output-available")


class Answers(BaseModel):
    """The answers to the questions of one call, in their order; each the chosen labels, or words of one's own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    answers: Annotated[list[list[Annotated[str, StringConstraints(max_length=4000)]]], Field(max_length=20)]


class _Approval(BaseModel):
    approved: bool


class _Reply(BaseModel):
    """A part of a message in which the user has answered: allowed or refused a call, or answered its questions."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: Literal["approval-responded", "output-available"]
    tool_call_id: Annotated[str, Field(alias="toolCallId", max_length=128)]
    approval: _Approval | None = None
    output: Answers | None = None

    @model_validator(mode="after")
    def _has_an_answer(self) -> Self:
        if (self.approval if self.state == "approval-responded" else self.output) is None:
            raise ValueError("no answer of the user's")
        return self

    def answer(self) -> bool | list[list[str]]:
        if self.state == "approval-responded" and self.approval is not None:
            return self.approval.approved
        return self.output.answers if self.output is not None else []


def replies_in(messages: Any) -> dict[str, bool | list[list[str]]]:
    """Return what the user has answered in *messages*, whatever those are, by tool call."""
    found: dict[str, bool | list[list[str]]] = {}
    for message in messages if isinstance(messages, list) else []:
        parts = message.get("parts") if isinstance(message, dict) else None
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict) and part.get("state") in ANSWERED:
                with suppress(ValidationError):
                    reply = _Reply.model_validate(part)
                    found[reply.tool_call_id] = reply.answer()
    return found
