"""
What tests may change while the provider runs, ordered over ``POST /settings``.

* ``access_seconds``: how long the access tokens live that are issued from then on, as their ``exp`` and ``expires_in``
  say; null: as long as the command line has it. Those that are out keep their end.
"""

from pydantic import BaseModel, ConfigDict, Field

LONGEST_SECONDS = 30 * 24 * 3600


class SettingsOrder(BaseModel):
    """The body of ``POST /settings``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    access_seconds: int | None = Field(gt=0, le=LONGEST_SECONDS)


class Settings:
    """The settings of now."""

    def __init__(self, *, access_seconds: int) -> None:
        """Take what holds until something else is ordered."""
        self._usual_access_seconds = access_seconds
        self.access_seconds = access_seconds

    def order(self, order: SettingsOrder) -> None:
        """Change them."""
        self.access_seconds = order.access_seconds or self._usual_access_seconds
