"""The routes of the WebSocket API, and how errors become its answers."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chat.conversation import Conversation
from threadbox.errors import AppError, UnauthorizedError
from threadbox.identifiers import ThreadId
from threadbox.statuses import http_status
from threadbox.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable


CLIENT_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class ConnectQuery(BaseModel):
    """What the client puts into the address; ``_pk`` stays the same when its socket is opened anew."""

    model_config = ConfigDict(extra="ignore")

    thread: ThreadId
    token: str = Field(max_length=4096)
    client_id: str = Field("", alias="_pk")

    @field_validator("client_id")
    @classmethod
    def _known_kind(cls, client_id: str) -> str:
        """Go without an id that is not of PartySocket's kind, a UUID; no client depends on it."""
        return client_id if CLIENT_ID.fullmatch(client_id) else ""


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
        self.conversation.connect(connection_id, thread_id=query.thread, token=query.token, client_id=query.client_id)

    def _disconnect(self, connection_id: str, event: dict[str, Any]) -> None:  # noqa: ARG002 - a route's shape
        self.conversation.disconnect(connection_id)

    def _default(self, connection_id: str, event: dict[str, Any]) -> None:
        self.conversation.receive(connection_id, event.get("body") or "")
