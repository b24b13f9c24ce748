"""The routes of the WebSocket API, and how errors become its answers."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chat.conversation import Conversation
from threadbox.edge import http_status
from threadbox.errors import AppError, UnauthorizedError
from threadbox.identifiers import ThreadId
from threadbox.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable


class ConnectQuery(BaseModel):
    """What the client puts into the address."""

    model_config = ConfigDict(extra="ignore")

    thread: ThreadId
    token: str = Field(max_length=4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketRoutes:
    """Dispatches by route key."""

    conversation: Conversation

    def handle(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return API Gateway's answer to the event; only that of ``$connect`` is seen by the client."""
        routes: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "$connect": self._connect,
            "$disconnect": self._disconnect,
            "$default": self._default,
        }
        context = event["requestContext"]
        try:
            routes[context["routeKey"]](context["connectionId"], event)
        except AppError as error:
            logger.info("socket refused", code=error.code, route=context["routeKey"])
            return {"statusCode": http_status(error)}
        except Exception:  # noqa: BLE001 - the boundary: API Gateway would show the text of what escapes
            logger.exception("unhandled", route=context["routeKey"])
            return {"statusCode": HTTPStatus.INTERNAL_SERVER_ERROR}
        return {"statusCode": HTTPStatus.OK}

    def _connect(self, connection_id: str, event: dict[str, Any]) -> None:
        try:
            query = ConnectQuery.model_validate(event.get("queryStringParameters") or {})
        except ValidationError as exc:
            raise UnauthorizedError("The address needs a thread and a token.") from exc
        self.conversation.connect(connection_id, thread_id=query.thread, token=query.token)

    def _disconnect(self, connection_id: str, event: dict[str, Any]) -> None:  # noqa: ARG002 - a route's shape
        self.conversation.disconnect(connection_id)

    def _default(self, connection_id: str, event: dict[str, Any]) -> None:
        self.conversation.receive(connection_id, event.get("body") or "")
