"""The frames of the chat protocol: what the ``agents`` client sends, and what it is sent."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Json, StringConstraints, TypeAdapter, ValidationError

from chat.messages import UIMessage
from chat.replies import Answers, replies_in
from chat.sizes import FRAME_LIMIT, fitted
from threadbox.errors import InvalidRequestError, TooLargeError

RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
MESSAGE_LIMIT = 24 * 1024
Chunk = dict[str, Any]


class _Frame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ChatBody(_Frame):
    """The JSON in a chat request. ``messages`` may be the whole list; the last one is what is asked."""

    messages: Annotated[list[UIMessage], Field(min_length=1)]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    model: Annotated[str | None, StringConstraints(pattern=r"^[a-z0-9-]{1,64}/[^\s]{1,200}$")] = None


class ChatInit(_Frame):
    """The request the client would have made over HTTP."""

    body: Json[ChatBody]


class ChatRequest(_Frame):
    """Ask the agent. Only clients of the older generation say to which ``url`` the request would have gone."""

    type: Literal["cf_agent_use_chat_request"]
    id: RequestId
    init: ChatInit
    url: Any = None

    def message(self) -> UIMessage:
        """
        Return the message that is asked.

        It is the user's last one in the list; what may follow it in there is not asked.

        Raises:
            InvalidRequestError: there is no user message with text in it.
            TooLargeError: it is over the limit.
        """
        last = next((m for m in reversed(self.init.body.messages) if m.role == "user"), None)
        if last is None or not last.text().strip():
            raise InvalidRequestError("The message is empty.")
        if len(last.model_dump_json().encode()) > MESSAGE_LIMIT:
            raise TooLargeError("The message is too long: 24 KB is the most.", limit=MESSAGE_LIMIT)
        return last


class CancelRequest(_Frame):
    """Stop the answer."""

    type: Literal["cf_agent_chat_request_cancel"]
    id: RequestId


class ResumeRequest(_Frame):
    """Ask whether there is an answer under way to attach to."""

    type: Literal["cf_agent_stream_resume_request"]
    probe_id: Annotated[str | None, Field(alias="probeId", max_length=128)] = None


class ResumeAck(_Frame):
    """Attach to it."""

    type: Literal["cf_agent_stream_resume_ack"]
    id: RequestId


class ToolApproval(_Frame):
    """Allow or refuse what a tool wants to do."""

    type: Literal["cf_agent_tool_approval"]
    tool_call_id: Annotated[str, Field(alias="toolCallId", max_length=128)]
    approved: bool

    def answer(self) -> bool:
        """Return what the user says to it."""
        return self.approved


class ToolResult(_Frame):
    """Answer a question of the agent's."""

    type: Literal["cf_agent_tool_result"]
    tool_call_id: Annotated[str, Field(alias="toolCallId", max_length=128)]
    output: Answers

    def answer(self) -> list[list[str]]:
        """Return what the user says to it."""
        return self.output.answers


class ClearRequest(_Frame):
    """Forget the conversation."""

    type: Literal["cf_agent_chat_clear"]


class MessagesEcho(_Frame):
    """
    The list of messages as a tab has it, after every change that its page makes to it.

    What is stored is stored: nothing in it is believed but what the user has answered to the agent in it.
    """

    type: Literal["cf_agent_chat_messages"]
    messages: Any = None

    def replies(self) -> dict[str, bool | list[list[str]]]:
        """Return what the user has answered, by tool call."""
        return replies_in(self.messages)


ClientFrame = (
    ChatRequest | CancelRequest | ClearRequest | MessagesEcho | ResumeRequest | ResumeAck | ToolApproval | ToolResult
)
_CLIENT_FRAME: TypeAdapter[ClientFrame] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])
_KNOWN = frozenset(str(cls.model_fields["type"].annotation.__args__[0]) for cls in ClientFrame.__args__)


def parse(text: str) -> ClientFrame | None:
    """
    Return the frame that *text* is, or None when its type is none of ours.

    Raises:
        InvalidRequestError: it is not a JSON object, or does not fit its type.
    """
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidRequestError("The frame is not JSON.") from exc
    if not isinstance(frame, dict):
        raise InvalidRequestError("The frame is not a JSON object.")
    if frame.get("type") not in _KNOWN:
        return None
    try:
        return _CLIENT_FRAME.validate_python(frame)
    except ValidationError as exc:
        # What cannot be written into a frame names no request that anybody waits for.
        given = str(frame.get("id", ""))[:128]
        request_id = given if given.isprintable() else ""
        raise InvalidRequestError("The frame does not fit its type.", request_id=request_id) from exc


def response(request_id: str, chunk: Chunk, *, replay: bool = False) -> str:
    """Return the frame that carries one chunk of an answer, shortened if it would not fit."""
    return _response(request_id, json.dumps(fitted(chunk), ensure_ascii=False), done=False, **_replay(replay))


def replay_complete(request_id: str) -> str:
    """Return the frame that says a replay has caught up; live chunks follow."""
    return _response(request_id, "", done=False, replay=True, replayComplete=True)


def done(request_id: str, outcome: str, *, replay: bool = False) -> str:
    """Return the frame that ends an answer: ``completed`` or ``aborted``."""
    return _response(request_id, "", done=True, outcome=outcome, **_replay(replay))


def failed(request_id: str, sentence: str, code: str) -> str:
    """Return the frame that ends an answer with an error: a sentence that a person reads, and its code."""
    return _response(request_id, sentence, done=True, error=True, code=code)


def snapshot(messages: list[UIMessage]) -> str:
    """
    Return the frame that replaces the list of messages in other tabs, or one that tells them to get it themselves.

    A part of the list would not do: the client takes what it is sent for all there is (agents 0.32.0).
    """
    shown = [message.model_dump(exclude_none=True) for message in messages]
    frame = json.dumps({"type": "cf_agent_chat_messages", "messages": shown}, ensure_ascii=False)
    return frame if len(frame.encode()) <= FRAME_LIMIT else history_changed()


def message_updated(message: UIMessage) -> str:
    """Return the frame that puts *message* in the place of the one with its id, where that is shown; see `snapshot`."""
    frame = json.dumps({"type": "cf_agent_message_updated", "message": message.model_dump(exclude_none=True)})
    return frame if len(frame.encode()) <= FRAME_LIMIT else history_changed()


def history_changed() -> str:
    """
    Return the frame upon which a web app gets the messages anew.

    Done at once and of a request that nobody has made, it is one that the client passes over.
    """
    chunk = {"type": "data-history", "data": {}, "transient": True}
    return _response("notice-history", json.dumps(chunk), done=True, outcome="completed")


def cleared() -> str:
    """Return the frame that empties the list of messages in other tabs."""
    return json.dumps({"type": "cf_agent_chat_clear"})


def resuming(request_id: str, probe_id: str) -> str:
    """Return the offer to attach to *request_id*."""
    return _probe({"type": "cf_agent_stream_resuming", "id": request_id}, probe_id)


def resume_none(probe_id: str) -> str:
    """Return the answer that nothing is under way."""
    return _probe({"type": "cf_agent_stream_resume_none", "reason": "idle"}, probe_id)


def problem(code: str, message: str) -> str:
    """Return the frame for what went wrong outside any request."""
    return json.dumps({"type": "error", "code": code, "message": message})


def _response(request_id: str, body: str, **fields: object) -> str:
    frame = {"type": "cf_agent_use_chat_response", "id": request_id, "body": body, **fields}
    return json.dumps(frame, ensure_ascii=False)


def _replay(replay: bool) -> dict[str, bool]:  # noqa: FBT001 - it names itself
    return {"replay": True} if replay else {}


def _probe(frame: dict[str, str], probe_id: str) -> str:
    return json.dumps({**frame, "probeId": probe_id} if probe_id else frame)
