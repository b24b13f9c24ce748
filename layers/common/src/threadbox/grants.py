"""A thread's grant: whose subscription its sandbox may use. The tokens themselves are in the sandbox only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

CODEX = "openai"
"""The provider that users sign in to, as OpenCode calls it."""


class Grant(BaseModel):
    """
    The ``GRANT#`` item.

    ``expires_at`` is when the access token ends (epoch seconds), ``generation`` the sandbox that has it, ``version``
    how often the thread was connected.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    thread_id: str
    account_id: str
    expires_at: int
    generation: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantStore:
    """The ``GRANT#`` items of one provider."""

    table: "Table"
    provider: str = CODEX

    def find(self, thread_id: str) -> Grant | None:
        """Return the thread's grant, or None when it is not connected."""
        item = self.table.get_item(Key=self._key(thread_id), ConsistentRead=True).get("Item")
        return Grant.model_validate(item) if item else None

    def write(self, grant: Grant, *, replace: bool) -> "TransactWriteItemTypeDef":
        """Return the write that stores *grant*; refused for another account than the stored one, unless *replace*."""
        update: UpdateTypeDef = {
            "TableName": self.table.name,
            "Key": self._key(grant.thread_id),
            "UpdateExpression": "SET account_id = :account, expires_at = :expires, generation = :generation "
            "ADD version :one",
            "ExpressionAttributeValues": {
                ":account": grant.account_id,
                ":expires": grant.expires_at,
                ":generation": grant.generation,
                ":one": 1,
            },
        }
        if not replace:
            update["ConditionExpression"] = "attribute_not_exists(account_id) OR account_id = :account"
        return {"Update": update}

    def delete(self, thread_id: str) -> bool:
        """Remove the thread's grant; False when there was none."""
        return "Attributes" in self.table.delete_item(Key=self._key(thread_id), ReturnValues="ALL_OLD")

    def _key(self, thread_id: str) -> dict[str, str]:
        return {"thread_id": thread_id, "sk": f"GRANT#{self.provider}"}
