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

from chat.turn import Turn, TurnState, turn_key
from threadbox.updates import update_if

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from threadbox.sockets import Socket


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentStore:
    """What sockets ask of their thread's turn."""

    table: "Table"

    def ask(self, socket: "Socket", probe: str) -> Turn | None:
        """
        Note that the socket asks whether an answer is under way, and return the thread's turn, if there was ever one.

        While that is under way its function answers. Otherwise the caller does, and strikes the question out when that
        is done: a turn that begins before then takes it for one that nobody has answered. Of one that was offered an
        answer that has ended it stands there until that is made up for.
        """
        item = self._write(socket, {"probe": probe}, "attribute_exists(attachments)", {})
        return Turn.model_validate(item) if "request_id" in item else None

    def strike(self, socket: "Socket", probe: str) -> None:
        """Strike the socket's question out, if it asks no other by now."""
        self._update(
            socket, "REMOVE attachments.#connection", "attachments.#connection.probe = :probe", {":probe": probe}
        )

    def make_up(self, socket: "Socket", request_id: str) -> None:
        """Note that the socket's client, which was cut off from that answer, has got all of it."""
        if socket.client_id:
            client = {":request": request_id, ":client": {socket.client_id}, ":ended": TurnState.ENDED}
            self._update(
                socket,
                "DELETE cut_off :client REMOVE attachments.#connection",
                "request_id = :request AND #state = :ended AND attribute_exists(cut_off)",
                client,
            )

    def claim_silent(self, socket: "Socket", request_id: str) -> bool:
        """
        Note that the socket's client is given the end of that answer without having asked, if it has not.

        It may ask at the same time: one of both finds that the other was first.
        """
        silent = "request_id = :request AND #state = :ended AND contains(cut_off, :one) AND "
        values = {
            ":request": request_id,
            ":ended": TurnState.ENDED,
            ":one": socket.client_id,
            ":client": {socket.client_id},
        }
        unasked = "attribute_not_exists(attachments.#connection)"
        return bool(self._update(socket, "DELETE cut_off :client", silent + unasked, values))

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
        key = turn_key(socket.thread_id)
        return update_if(self.table, key, update=update, condition=condition, values=values, names=names) or {}
