"""What holds for a socket: its limits, and the order of its events. A test may ask for others in the address."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field

from local.gateway.disorder import Disorder, Place, in_order
from local.gateway.errors import BadRequestError
from local.gateway.limits import Limits


class Changes(BaseModel):
    """
    What may be asked for: times that are scaled down, and events in parallel and shuffled.

    ``disorder`` is a seed, ``disorder_seconds`` the longest that an event is held back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    idle_seconds: float | None = Field(default=None, gt=0)
    life_seconds: float | None = Field(default=None, gt=0)
    disorder: int | None = None
    disorder_seconds: float = Field(default=0.3, gt=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Those of a socket. ``order`` gives the order in which its events go to the function."""

    limits: Limits
    order: Callable[[], Place] = in_order

    def changed(self, text: str) -> "Rules":
        """
        Return these with the changes in *text*, such as ``idle_seconds=2&disorder=7``; empty: none.

        Raises:
            BadRequestError: there is no such change.
        """
        try:
            changes = Changes.model_validate(dict(parse_qsl(text, strict_parsing=True) if text else ()))
        except ValueError as error:
            raise BadRequestError from error
        limits = replace(
            self.limits,
            idle_seconds=changes.idle_seconds or self.limits.idle_seconds,
            life_seconds=changes.life_seconds or self.limits.life_seconds,
        )
        if changes.disorder is None:
            return replace(self, limits=limits)
        return Rules(limits=limits, order=Disorder(changes.disorder, spread=changes.disorder_seconds))
