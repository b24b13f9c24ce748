"""
Attachments: sockets that ask for the answer that is under way.

::

    probe ──▶ the turn's writer offers ──▶ ack ──▶ the turn's writer sends all from the beginning, then what follows

What a socket asks stands on the ``TURN`` item, so that it comes in one order with the turn's beginning, its renewals
and its end: whoever writes it learns in the same write whether a turn is under way. If one is, only its function
answers, by the socket's one writer; it cannot end the turn before it has seen what was asked.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chat.turn import TurnState

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from threadbox.sockets import Socket

UNDER_WAY = (TurnState.QUEUED, TurnState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentStore:
    """What sockets ask of their thread's turn."""

    table: "Table"

    def ask(self, socket: "Socket", probe: str) -> bool:
        """
        Note that the socket asks whether an answer is under way; True when a turn's function will tell it.

        Otherwise the caller tells it, and strikes the question out when that is done: a turn that begins before
        then takes it for one that nobody has answered.
        """
        item = self._write(socket, {"probe": probe}, "attribute_exists(attachments)", {})
        return item.get("state") in UNDER_WAY

    def strike(self, socket: "Socket", probe: str) -> None:
        """Strike the socket's question out, if it asks no other by now."""
        self._update(
            socket, "REMOVE attachments.#connection", "attachments.#connection.probe = :probe", {":probe": probe}
        )

    def ack(self, socket: "Socket", request_id: str) -> bool:
        """Note that the socket wants the answer of that request; False when that is not under way."""
        return bool(
            self._write(
                socket,
                {"acked": True},
                "attribute_exists(attachments) AND request_id = :request AND #state <> :ended",
                {":request": request_id, ":ended": TurnState.ENDED},
            )
        )

    def _write(self, socket: "Socket", asked: dict[str, Any], condition: str, values: dict[str, Any]) -> dict[str, Any]:
        update = "SET attachments.#connection = :asked ADD sockets_version :one"
        return self._update(socket, update, condition, {**values, ":asked": asked, ":one": 1})

    def _update(self, socket: "Socket", update: str, condition: str, values: dict[str, Any]) -> dict[str, Any]:
        """Return the turn's item after the update, or nothing when the condition does not hold."""
        names = {"#connection": socket.connection_id, "#state": "state"}
        try:
            answer = self.table.update_item(
                Key={"thread_id": socket.thread_id, "sk": "TURN"},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={name: names[name] for name in names if name in update + condition},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            return {}
        return answer["Attributes"]
