"""The transcript: UIMessages of a thread, one item each, in the order of their sequence numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from boto3.dynamodb.conditions import Key
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from threadbox.clock import unix_time

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

Item = dict[str, str | int]
MessageId = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class UIMessage(BaseModel):
    """
    A message as the AI SDK shows it.

    ``parts`` are kept as they are: ``{"type":"text","text":…,"state":"done"}`` and its siblings.
    """

    model_config = ConfigDict(extra="ignore")

    id: MessageId
    role: Literal["user", "assistant", "system"]
    parts: list[dict[str, Any]] = Field(max_length=1000)
    metadata: dict[str, Any] | None = None

    def text(self) -> str:
        """Return the text parts, joined."""
        return "\n".join(str(part.get("text", "")) for part in self.parts if part.get("type") == "text")


def message_key(thread_id: str, seq: int) -> dict[str, str]:
    """Return the key of the item that holds message number *seq*."""
    return {"thread_id": thread_id, "sk": f"MSG#{seq:010d}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStore:
    """
    The ``MSG#`` items of threads.

    Numbers are drawn from a counter on the thread's ``META`` item, two at a time: one for what the user says and one
    for the answer, so that an answer stands behind its question whatever is written first.
    """

    table: "Table"
    now: Callable[[], float] = unix_time

    def reserve(self, thread_id: str) -> int:
        """Return the number of the next user message; the one after it belongs to its answer."""
        answer = self.table.update_item(
            Key={"thread_id": thread_id, "sk": "META"},
            UpdateExpression="ADD messages :two",
            ExpressionAttributeValues={":two": 2},
            ReturnValues="UPDATED_NEW",
        )
        return int(str(answer["Attributes"]["messages"])) - 1

    def creation(self, thread_id: str, seq: int, message: UIMessage) -> "list[TransactWriteItemTypeDef]":
        """
        Return the writes that store *message*, as part of somebody's transaction.

        The second one claims the message's id for the thread, so that a message sent twice is stored once.
        """
        claim: Item = {"thread_id": thread_id, "sk": f"MSGID#{message.id}", "seq": seq}
        return [
            {"Put": {"TableName": self.table.name, "Item": entry, "ConditionExpression": "attribute_not_exists(sk)"}}
            for entry in (self._item(thread_id, seq, message), claim)
        ]

    def put(self, thread_id: str, seq: int, message: UIMessage) -> None:
        """Store *message* under the number that was reserved for it; repeating it changes nothing."""
        self.table.put_item(Item=self._item(thread_id, seq, message))

    def _item(self, thread_id: str, seq: int, message: UIMessage) -> Item:
        body = message.model_dump_json(exclude_none=True)
        return {**message_key(thread_id, seq), "message": body, "created_at": int(self.now())}

    def seq_of(self, thread_id: str, message_id: str) -> int | None:
        """Return the number of the user message with that id, or None."""
        item = self.table.get_item(Key={"thread_id": thread_id, "sk": f"MSGID#{message_id}"}, ConsistentRead=True).get(
            "Item"
        )
        return int(str(item["seq"])) if item else None

    def find(self, thread_id: str, seq: int) -> UIMessage | None:
        """Return message number *seq*, or None."""
        item = self.table.get_item(Key=message_key(thread_id, seq), ConsistentRead=True).get("Item")
        return UIMessage.model_validate_json(str(item["message"])) if item else None

    def list(self, thread_id: str) -> list[UIMessage]:
        """Return all messages of the thread, oldest first."""
        messages: list[UIMessage] = []
        condition = Key("thread_id").eq(thread_id) & Key("sk").begins_with("MSG#")
        page = self.table.query(KeyConditionExpression=condition, ConsistentRead=True)
        while True:
            messages += [UIMessage.model_validate_json(str(item["message"])) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return messages
            page = self.table.query(
                KeyConditionExpression=condition, ConsistentRead=True, ExclusiveStartKey=page["LastEvaluatedKey"]
            )
