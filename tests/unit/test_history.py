"""Reading a history: whole, in parts where it does not fit, and as an export."""

import json
from dataclasses import replace

import pytest

from chat.app import create_app
from chat.export import Export
from chat.history import HistoryService
from chat.messages import UIMessage
from chat.records import ToolReceipt, TurnRecord
from tests.asgi import AsgiClient
from tests.fakes import begin, secret, session
from threadbox.sessions import SessionVerifier
from threadbox.threads import ThreadStore

KEY = {"kid": "k", "key": "s" * 64}


def token(user="u"):
    return session(KEY, user=user)


@pytest.fixture
def service(table, messages, clock):
    return HistoryService(
        sessions=SessionVerifier(secret=secret(KEY)),
        threads=ThreadStore(table=table, now=clock),
        store=messages,
        export_of=Export(table=table, store=messages, now=clock),
    )


class Owner:
    """The thread's owner, who calls its routes, for answers of a size."""

    def __init__(self, service, size=None):
        sized = service if size is None else replace(service, answer_size=size)
        self.http = AsgiClient(create_app(sized, None, None))

    def get(self, path, bearer=None, **options):
        headers = {"Authorization": f"Bearer {token() if bearer is None else bearer}"}
        return self.http.request("GET", f"/agents/chat/t/{path}", headers=headers, **options)


@pytest.fixture
def client(service):
    return Owner(service)


@pytest.fixture
def talk(messages, turns, clock):
    """Asks and answers: ``talk("one", "hello")``."""

    def talk(name, text, record=None):
        seq = messages.reserve("t")
        question = UIMessage(id=name, role="user", parts=[{"type": "text", "text": f"say {name}"}])
        writes = messages.creation("t", seq, question, request_id=f"r-{name}")
        turns.submit("t", f"r-{name}", seq=seq, connection_id="c", writes=writes)
        turn = begin(turns, "t", f"r-{name}")
        clock.time += 2
        messages.answer(turn, UIMessage(id=turn.answer_id, role="assistant", parts=[{"type": "text", "text": text}]))
        turns.end(turns.renew(turn, generation=1), "completed", record)

    return talk


def texts(answer):
    return ["".join(part["text"] for part in message["parts"]) for message in answer.json()]


def test_history_is_the_whole_conversation(client, talk):
    """Oldest first, each message as it was stored, and nothing follows."""
    talk("one", "eins")
    talk("two", "zwei: äöü 漢字")
    answer = client.get("get-messages")

    assert ["say one", "eins", "say two", "zwei: äöü 漢字"] == texts(answer)
    assert "application/json" == answer.headers["content-type"]
    assert "link" not in answer.headers


def test_history_of_a_new_thread_is_empty(client):
    """An array without anything in it."""
    assert [] == client.get("get-messages").json()


def test_history_is_its_owners(client, talk):
    """Another user's token opens neither the history nor the export."""
    talk("one", "eins")
    assert 200 == client.get("get-messages").status_code
    for path in ("get-messages", "export"):
        assert 403 == client.get(path, bearer=token("somebody else")).status_code
        assert 401 == client.get(path, bearer="").status_code


def test_what_does_not_fit_is_left_out_the_oldest_first(service, talk):
    """Each page begins with a question, names where the one before it ends, and together they are the whole."""
    client = Owner(service, 3000)
    for n in range(20):
        talk(f"q{n}", f"answer {n}, {'x' * 200}")

    pages, path = [], "get-messages"
    while True:
        answer = client.get(path)
        pages.append(answer.json())
        assert len(json.dumps(answer.text)) <= 3000
        if "link" not in answer.headers:
            break
        assert answer.links["next"]["url"].startswith("?before=q")
        path = f"get-messages{answer.links['next']['url']}"

    whole = [message["id"] for page in reversed(pages) for message in page]
    assert [f"q{n}" for n in range(20)] == whole[::2]
    assert (40, 40) == (len(whole), len(set(whole)))
    assert {"user"} == {page[0]["role"] for page in pages}
    assert 404 == client.get("get-messages?before=nobody").status_code


def test_message_that_does_not_fit_alone_is_shortened(service, talk):
    """It is seen, with its middle left out, and so is its question."""
    client = Owner(service, 4000)
    talk("one", "ä" * 9000)
    question, answer = texts(client.get("get-messages"))

    assert "say one" == question
    assert "(shortened)" in answer
    assert answer.startswith("ää")


def test_large_answer_is_read_from_the_bucket(client, talk, table):
    """It is no different from the others for whoever reads it."""
    talk("one", "x" * 400_000)
    assert ["say one", "x" * 400_000] == texts(client.get("get-messages"))
    (item,) = [item for item in table.scan()["Items"] if "body_key" in item]
    assert "message" not in item


def test_export_has_everything(client, talk, clock):
    """A header, the messages, the turns with what they took, and what their tools did: a JSON text per line."""
    tool = ToolReceipt(tool_call_id="prt_1", tool="bash", state="output-available", exit_code=0, duration_ms=15)
    talk("one", "eins", TurnRecord(ttft_ms=120, answered_by="default/demo", tokens={"totalTokens": 7}, tools=[tool]))
    talk("two", "zwei")
    answer = client.get("export")
    header, *lines = [json.loads(line) for line in answer.text.splitlines()]

    assert "application/jsonl" == answer.headers["content-type"].split(";")[0]
    assert ("thread", "threadbox-export/1", "t", "u") == tuple(
        header[name] for name in ("type", "format", "thread_id", "user_id")
    )
    assert ["message"] * 4 + ["turn", "tool", "turn"] == [line["type"] for line in lines]
    assert ["one", "two"] == [line["message"]["id"] for line in lines[:4:2]]
    turn = lines[4]
    assert ("r-one", 1, "completed", 120, 2000) == tuple(
        turn[name] for name in ("request_id", "number", "outcome", "ttft_ms", "duration_ms")
    )
    assert ("default/demo", {"totalTokens": 7}) == (turn["model"], turn["tokens"])
    assert {"type": "tool", "request_id": "r-one", **tool.model_dump()} == lines[5]
    assert lines[6]["ttft_ms"] is None


def test_export_goes_on_where_it_ended(service, talk):
    """Every line is in one of the answers, whatever the place where an answer is full."""
    client = Owner(service, 2500)
    for n in range(12):
        talk(f"q{n}", "x" * 300)
    talk("long", "y" * 5000)

    names, path = [], "export"
    while path:
        answer = client.get(path)
        assert len(json.dumps(answer.text)) <= 2500
        lines = [json.loads(line) for line in answer.text.splitlines()][1:]
        names += [line.get("request_id") or line["message"]["id"] for line in lines]
        path = f"export{answer.links['next']['url']}" if "link" in answer.headers else ""

    assert 13 * 3 == len(names) == len(set(names))
    for place in ("message:x", "turn:", "elsewhere:1", "message:1:2"):
        assert 422 == client.get("export", params={"after": place}).status_code
