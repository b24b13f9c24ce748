"""Secrets Manager secrets whose value is a JSON object, kept for a few minutes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

Stage = Literal["AWSCURRENT", "AWSPREVIOUS"]


@dataclass(slots=True, kw_only=True)
class JsonSecret:
    """
    One secret and its two stages.

    A rotation is seen after *max_age* seconds at the latest. Until then the previous value is the one known as
    current, which is why callers that verify accept both.
    """

    client: "SecretsManagerClient"
    arn: str
    max_age: float = 300
    clock: Callable[[], float] = monotonic
    _kept: dict[Stage, tuple[float, dict[str, str] | None]] = field(default_factory=dict)

    def current(self) -> dict[str, str]:
        """Return the current value."""
        value = self._stage("AWSCURRENT")
        if value is None:
            raise LookupError("the secret has no current value")
        return value

    def previous(self) -> dict[str, str] | None:
        """Return the value before the last rotation, or None."""
        return self._stage("AWSPREVIOUS")

    def _stage(self, stage: Stage) -> dict[str, str] | None:
        read_at, value = self._kept.get(stage, (float("-inf"), None))
        if self.clock() - read_at > self.max_age:
            value = self._read(stage)
            self._kept[stage] = (self.clock(), value)
        return value

    def _read(self, stage: Stage) -> dict[str, str] | None:
        try:
            answer = self.client.get_secret_value(SecretId=self.arn, VersionStage=stage)
        except self.client.exceptions.ResourceNotFoundException:
            return None
        value: dict[str, str] = json.loads(answer["SecretString"])
        return value
