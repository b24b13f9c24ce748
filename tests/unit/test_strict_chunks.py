"""Every chunk that is sent, as the older generation of the AI SDK takes it: it validates each one, and strictly."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from chat import frames
from chat.chunks import replayed
from chat.sizes import fitted
from chat.translation import Translation
from tests.unit.test_translation import (
    DONE,
    PART,
    RUNNING,
    SESSION,
    assistant,
    delta,
    event,
    feed,
    part,
    retry,
    text,
    tool,
    user,
)
from threadbox.notices import Notices

ROOT = Path(__file__).parents[2]
READ = ROOT / "tests" / "browser" / "apps" / "older" / "read.mjs"
ASKED = event("permission.asked", id="per_1", tool={"messageID": "msg_a", "callID": "call_1"})
REFUSED = event("permission.replied", requestID="per_1", reply="reject")
PENDING = tool("pending", input={})
STREAMS = {
    "text, reasoning and a call that succeeds": [
        part("reasoning", "prt_r", ""),
        delta("Hm", "prt_r"),
        part("reasoning", "prt_r", "Hm", end=1),
        PENDING,
        RUNNING,
        tool("running", input={"command": "ls"}, metadata={"output": "a\n"}),
        ASKED,
        DONE,
        event("session.updated", info={"title": "A haiku"}),
        text(""),
        delta("Hello"),
        text("Hello", end=5),
        assistant(completed=6),
    ],
    "a call that is refused": [PENDING, RUNNING, ASKED, REFUSED, tool("error", input={"command": "ls"}, error="No.")],
    "a call that fails": [PENDING, RUNNING, tool("error", input={"command": "ls"}, error="It is not there.")],
    "a call that is interrupted": [PENDING],
    "output that does not fit": [RUNNING, tool("completed", input={"command": "ls"}, output="a" * 50_000, metadata={})],
}
# A chunk that the sources name; those of text and reasoning are put together there.
KIND = re.compile(r'(?:"type": |_chunk\()"((?:start|finish|abort|file)(?:-step)?|(?:data|tool|source)-[a-z-]+)"')


class Told:
    """The sockets that a notice is posted to."""

    def __init__(self):
        self.frames = []

    def post(self, _, frame):
        self.frames.append(json.loads(frame))
        return 1


def notices():
    """Return the chunks that come outside of any answer."""
    told = Told()
    notices = Notices(broadcast=told)
    notices.codex("t", "connected", attempt_id="a", account_id="b")
    notices.sandbox("t", state="starting", detail="pulling")
    return [json.loads(frame["body"]) for frame in [*told.frames, json.loads(frames.history_changed())]]


def answer(events):
    """Return the chunks of a whole answer, as they are put into frames, and its message as it is stored."""
    translation = Translation(session_id=SESSION, part_id=PART)
    chunks = feed(translation, user(), assistant())
    chunks += retry(translation, *events) + translation.close()
    said = {"type": "data-sandbox", "data": {"state": "running", "detail": "ready"}, "transient": True}
    metadata = {"finishReason": "stop", "usage": {"inputTokens": 1}, "model": "default/demo"}
    whole = [{"type": "start", "messageId": "a"}, said, *chunks, {"type": "finish", "messageMetadata": metadata}]
    return [fitted(chunk) for chunk in whole], {"id": "a", "metadata": metadata, "parts": translation.parts()}


@pytest.fixture(scope="module")
def streams():
    """Every stream, as it is sent at first and again, by name."""
    streams = {"notices": notices()}
    for name, events in STREAMS.items():
        live, message = answer(events)
        streams |= {name: live, f"{name}, again": [fitted(chunk) for chunk in replayed(message)]}
    return streams


@pytest.fixture(scope="module")
def read(streams):
    """What the SDK makes of each of them."""
    node = shutil.which("node")
    assert node is not None
    assert (READ.parent / "node_modules").exists(), "make test installs the older packages"
    asked = {**streams, "strange": [{"type": "finish", "usage": {}}]}
    done = subprocess.run([node, READ], input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_no_chunk_is_refused(streams, read):
    """One key that it does not know would end the answer with an error; that is noticed here."""
    assert {name: [] for name in streams} == {name: read[name]["refused"] for name in streams}
    assert [{"type": "finish", "usage": {}}] == read["strange"]["refused"]


@pytest.mark.parametrize("name", STREAMS)
def test_what_it_shows_is_what_is_stored(read, name):
    """Of the stream and of its repetition it makes the parts of the stored message."""
    stored = answer(STREAMS[name])[1]["parts"]
    for shown in (read[name]["parts"], read[f"{name}, again"]["parts"]):
        assert [each["type"] for each in stored] == [each["type"] for each in shown]
        for each, kept in zip(shown, stored, strict=True):
            same = kept.keys() - {"approval"} - ({"output"} if name == "output that does not fit" else set())
            assert {key: kept[key] for key in same} == {key: each.get(key) for key in same}


def test_every_kind_of_chunk_is_among_them(streams):
    """Whatever the sources send, so that a further kind is not forgotten here."""
    sent = {chunk["type"] for chunks in streams.values() for chunk in chunks}
    sources = (ROOT / "functions" / "chat" / "src").rglob("*.py")
    named = {kind for source in sources for kind in KIND.findall(source.read_text())}
    streamed = {f"{kind}-{place}" for kind in ("text", "reasoning") for place in ("start", "delta", "end")}

    assert sent == named | streamed | {"data-codex"}
