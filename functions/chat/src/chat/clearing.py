"""
Clearing a thread: its history and its turns are gone, and the agent knows nothing of them.

::

    one write: CUT, and TURN cut ─▶ agent stopped ─▶ other tabs cleared ─▶ messages, bodies and turns deleted

Where a turn runs, its function tells the other tabs: only it knows when the last frame of its answer is out.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chat import frames
from chat.agent import Agent
from chat.claims import BEHIND
from chat.cuts import Cut, CutStore
from chat.messages import MessageStore
from chat.turn import Turn, TurnState, turn_key
from chat.turns import TurnStore
from threadbox.errors import ConflictError
from threadbox.sockets import Socket, SocketBroadcast
from threadbox.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import UpdateTypeDef

ATTEMPTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """Clears threads."""

    table: "Table"
    messages: MessageStore
    turns: TurnStore
    cuts: CutStore
    agent: Agent
    broadcast: SocketBroadcast

    def clear(self, socket: Socket) -> None:
        """
        Clear the socket's thread. Whatever is submitted from now on stays.

        Requests that were under way end before the other tabs are told, so that no frame of theirs follows.

        Raises:
            ConflictError: the thread's turn changed hands too often meanwhile.
            HistoryUnavailableError: not everything could be deleted yet; what is left is not shown any more.
        """
        thread_id = socket.thread_id
        item = self._cut(socket)
        ended = [str(item["next_request"])] if "next_request" in item else []
        turn = Turn.model_validate(item) if "request_id" in item else None
        if turn is not None and turn.state == TurnState.QUEUED:
            ended.insert(0, turn.request_id)
            self.turns.unlist(thread_id, turn.request_id)
        for request_id in ended:
            self.broadcast.post(thread_id, frames.done(request_id, "aborted"))
        if turn is not None and turn.state != TurnState.ENDED:
            self.agent.abort(turn)
        if turn is None or turn.state != TurnState.RUNNING:
            self.broadcast.post(thread_id, frames.cleared(), but=socket.connection_id)
        logger.info("thread cleared", thread_id=thread_id)
        self.cuts.sweep(thread_id)

    def _cut(self, socket: Socket) -> dict[str, Any]:
        """Make the cut, and return the turn's item as it was before."""
        client = self.table.meta.client
        for _ in range(ATTEMPTS):
            item = self.table.get_item(Key=turn_key(socket.thread_id), ConsistentRead=True).get("Item", {})
            cut = Cut(number=self.messages.reserve(socket.thread_id), first=0)
            update = self._turn_update(socket, item, cut)
            try:
                client.transact_write_items(TransactItems=[self.cuts.mark(socket.thread_id, cut), {"Update": update}])
            except client.exceptions.TransactionCanceledException:
                continue
            return item
        raise ConflictError("Too much at once. Please try again.", retry_after=1)

    def _turn_update(self, socket: Socket, item: dict[str, Any], cut: Cut) -> "UpdateTypeDef":
        """
        Return the write that calls the turn off; one that no function runs ends with it.

        It is refused when the turn, what stands behind it, or the history was changed since *item* was read.
        """
        seen = {"request_id", "state", "next_request", "cut"}
        conditions = [f"#{name} = :{name}" if name in item else f"attribute_not_exists(#{name})" for name in seen]
        values: dict[str, Any] = {f":{name}": item[name] for name in seen & item.keys()}
        update = "SET #cut = :number, cut_from = :zero, cleared_by = :connection"
        if item.get("state") == TurnState.RUNNING:
            update += f", cancel = :true REMOVE {BEHIND}"
            values[":true"] = True
        else:
            update += f"{', #state = :ended' if 'request_id' in item else ''}, attachments = :none"
            update += f" REMOVE cancel, outcome, asks, {BEHIND}"
            update += " ADD epoch :one"
            values |= {":one": 1, ":none": {}, **({":ended": "ended"} if "request_id" in item else {})}
        return {
            "TableName": self.table.name,
            "Key": turn_key(socket.thread_id),
            "UpdateExpression": update,
            "ConditionExpression": " AND ".join(conditions),
            "ExpressionAttributeNames": {f"#{name}": name for name in seen},
            "ExpressionAttributeValues": {
                **values,
                ":number": cut.number,
                ":zero": 0,
                ":connection": socket.connection_id,
            },
        }
