"""How turns end, as operators see it: one line of the log and its metrics for each."""

from chat.records import TurnRecord
from chat.turn import Outcome, Turn
from threadbox.errors import (
    AppError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    ModelRateLimitedError,
    ModelUnauthorizedError,
    ModelUnknownError,
    NotFoundError,
    RateLimitedError,
    TooLargeError,
)
from threadbox.measures import emit
from threadbox.telemetry import logger

REFUSALS = (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    ModelRateLimitedError,
    ModelUnauthorizedError,
    ModelUnknownError,
    NotFoundError,
    RateLimitedError,
    TooLargeError,
)
"""What is no fault of ours: the user, the operators' limits, or the provider whose key or account it is, decided so."""


def turn_ended(
    turn: Turn, outcome: Outcome, *, now: float, error: AppError | None = None, record: TurnRecord | None = None
) -> None:
    """Tell of a turn that has ended; called by whoever's write has ended it, so once."""
    known = record or TurnRecord()
    seen = "refused" if isinstance(error, REFUSALS) else str(outcome)
    logger.info(
        "turn ended",
        thread_id=turn.thread_id,
        request_id=turn.request_id,
        outcome=seen,
        code=error.code if error is not None else None,
        duration_ms=int(now * 1000) - turn.begun_ms,
        ttft_ms=known.ttft_ms,
        model=known.answered_by,
        tokens=known.tokens,
        tools=len(known.tools),
        takeovers=turn.takeovers,
        generation=turn.generation,
    )
    emit({"Turns": 1}, outcome=seen)
    tokens = {"InputTokens": known.tokens.get("inputTokens", 0), "OutputTokens": known.tokens.get("outputTokens", 0)}
    emit({"TurnFailures": int(seen == "error"), **{name: counted for name, counted in tokens.items() if counted}})


def first_token(ttft_ms: int, *, started: bool) -> None:
    """Tell how long a turn took to its first text; *started*: a sandbox was started for it."""
    emit({"TimeToFirstToken": ttft_ms}, sandbox="started" if started else "running")


def frames_posted(frames: int) -> None:
    """Tell how many frames one function posted for a turn."""
    if frames:
        emit({"FramesPosted": frames})
