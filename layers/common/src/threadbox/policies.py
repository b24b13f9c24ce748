"""A thread's tool policy: what its user lets the agent do. It is part of the thread's ``META`` item."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from threadbox.errors import NotFoundError
from threadbox.threads import thread_key
from threadbox.updates import update_if

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


class ToolPolicy(StrEnum):
    """What the agent may do: nothing, look, or work."""

    NONE = "none"
    READ_ONLY = "read-only"
    READ_WRITE = "read-write"


class Policy(BaseModel):
    """A thread's policy; ``version`` grows with every change of it, and is 0 as long as nobody chose one."""

    model_config = ConfigDict(frozen=True)

    policy: ToolPolicy = ToolPolicy.READ_WRITE
    version: int = 0

    @classmethod
    def of(cls, item: Mapping[str, Any] | None) -> "Policy":
        """Return the policy that a ``META`` item says."""
        if item is None or "tool_policy" not in item:
            return cls()
        return cls(policy=item["tool_policy"], version=item["policy_version"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStore:
    """The policies of threads."""

    table: "Table"

    def get(self, thread_id: str) -> Policy:
        """Return the thread's policy."""
        return Policy.of(self.table.get_item(Key=thread_key(thread_id), ConsistentRead=True).get("Item"))

    def put(self, thread_id: str, policy: ToolPolicy) -> Policy:
        """
        Have the thread's policy be that, and return the one it has then; the same again changes nothing.

        Raises:
            NotFoundError: there is no such thread any more.
        """
        changed = update_if(
            self.table,
            thread_key(thread_id),
            update="SET tool_policy = :policy ADD policy_version :one",
            condition="attribute_exists(user_id) AND (attribute_not_exists(tool_policy) OR tool_policy <> :policy)",
            values={":policy": policy.value, ":one": 1},
        )
        kept = Policy.of(changed) if changed is not None else self.get(thread_id)
        if not kept.version:
            raise NotFoundError("There is no such thread any more.")
        return kept
