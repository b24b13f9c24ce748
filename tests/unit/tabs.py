"""The npm client on one socket, as far as the order of frames matters to it."""

import json
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass
class Seen:
    """
    What one tab has of one answer. ``stage`` is where it stands with it, ``text`` what it shows.

    ``repeated`` is how many frames with text came twice.
    """

    stage: str = "new"
    text: str = ""
    ended: bool = False
    repeated: int = 0


@dataclass
class Tab:
    """
    One tab. What it is about to send stands in ``outbox``; ``problems`` are the frames that the real one cannot bear.
    Until it is ``open`` nothing can be posted to it, as to a connection that is gone; ``closed`` it comes back as
    another one.

    It follows an answer whose frames it gets without having asked for it. Offered one it sends an acknowledgement,
    and then it wants the answer from its beginning. That nothing is under way makes it forget what it followed.
    """

    name: str
    probe: str | None = None
    outbox: list[dict[str, Any]] = field(default_factory=list)
    own: set[str] = field(default_factory=set)
    acked: set[str] = field(default_factory=set)
    answers: dict[str, Seen] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    messages: dict[str, str] = field(default_factory=dict)
    open: bool = False
    closed: bool = False
    client: str = ""

    def __post_init__(self) -> None:
        self.client = self.client or self.name

    @property
    def reading(self) -> bool:
        """Whether it shows a part of an answer, and more is to come."""
        return self.open and any(seen.text and not seen.ended for seen in self.answers.values())

    def again(self, name: str) -> "Tab":
        """Return the tab as it is when it opens another connection, of that name, after it has lost one."""
        answers = {request: replace(seen, stage="cut") for request, seen in self.answers.items()}
        again = Tab(name, client=self.client, answers=answers, messages=dict(self.messages))
        again.ask_for_answer()
        return again

    def opened(self) -> None:
        """The handshake is over; until then there was no posting to it."""
        self.open = True

    def ask_for_answer(self) -> None:
        """Probe whether an answer is under way, as the newest client does as soon as it is there."""
        self.probe = f"probe-{self.name}"
        self.outbox.append({"type": "cf_agent_stream_resume_request", "probeId": self.probe})

    def ask(self, request: str) -> None:
        """Send a message."""
        self.own.add(request)
        self.answers[request] = Seen("own")
        message = {"id": f"m-{request}", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
        init = {"method": "POST", "body": json.dumps({"messages": [message]})}
        self.outbox.append({"type": "cf_agent_use_chat_request", "id": request, "init": init})

    def receive(self, frame: dict[str, Any]) -> None:
        """Take a frame as the client would."""
        match frame["type"]:
            case "cf_agent_stream_resuming":
                self._offered(frame["id"])
            case "cf_agent_stream_resume_none" if frame.get("probeId") == self.probe:
                self.probe = None
                for seen in self.answers.values():
                    seen.stage = "forgotten" if seen.stage == "followed" and not seen.ended else seen.stage
            case "cf_agent_message_updated":
                self._show([frame["message"]])
            case "cf_agent_chat_messages":
                self._show(frame["messages"])
            case "cf_agent_use_chat_response":
                self._response(self.answers.setdefault(frame["id"], Seen()), frame)

    def _show(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            request = self.messages.get(message["id"])
            if request is not None:
                text = "".join(part.get("text", "") for part in message["parts"])
                seen = self.answers[request]
                seen.text, seen.ended = text, seen.ended or seen.stage == "cut"

    def _offered(self, request: str) -> None:
        if self.probe is None and request in self.acked | self.own:
            return
        if request in self.own:
            self.problems.append(f"was offered {request}, which it asked itself")
        self.probe = None
        self.acked.add(request)
        self.answers[request] = Seen("offered")
        self.outbox.append({"type": "cf_agent_stream_resume_ack", "id": request})

    def _response(self, seen: Seen, frame: dict[str, Any]) -> None:
        replay = frame.get("replay", False)
        if seen.ended and not frame["done"]:
            self.problems.append(f"got more of {frame['id']} after its end")
        if frame["done"]:
            seen.ended = True
        elif replay and seen.stage not in ("offered", "attached"):
            self.problems.append(f"got a replay of {frame['id']} without having asked for it")
        elif not replay and seen.stage in ("offered", "forgotten"):
            self.problems.append(f"got a live frame of {frame['id']} when it was {seen.stage}")
        if replay:
            seen.stage = "attached"
        elif seen.stage in ("new", "cut") and not frame["done"]:
            seen.stage = "followed"
        if frame["body"] and not frame.get("error"):
            self._chunk(seen, frame["id"], json.loads(frame["body"]), replay=replay)

    def _chunk(self, seen: Seen, request: str, chunk: dict[str, Any], *, replay: bool) -> None:
        if chunk["type"] == "start":
            self.messages[chunk["messageId"]] = request
            seen.text = "" if replay else seen.text
        said = chunk.get("delta", "")
        # A function that died may have posted its last frame without having noted it.
        seen.repeated += bool(said) and said.split()[0] in seen.text.split()
        seen.text += said
