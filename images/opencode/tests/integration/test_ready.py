"""A sandbox that serves its thread, from the outside."""

import itertools
import json
import secrets
from pathlib import Path

import httpx
import pytest
from harness import API_KEY, Sandboxd, ScriptedModel, answer_of, opencode_version, turn_of
from identity_provider import eventually


def only_one(sessions: list[dict[str, str]]) -> list[dict[str, str]]:
    """Those sessions, once there is no other beside the first."""
    return sessions if len(sessions) == 1 else []


def test_status_tells_of_the_session(ready: Sandboxd) -> None:
    """The thread's one session exists, and is the only one: the warm-up leaves none."""
    status = ready.turn_call("GET", "/sandboxd/status").json()
    sessions = eventually(lambda: only_one(ready.call("GET", "/session").json()))

    assert (status["state"], status["thread_id"], status["generation"]) == ("ready", "thread-1", 1)
    assert status["opencode_version"] == opencode_version()
    assert [status["session_id"]] == [session["id"] for session in sessions]


def test_bind_may_be_repeated(ready: Sandboxd) -> None:
    """The control plane may have missed the answer."""
    answer = ready.bind()

    assert (answer.status_code, answer.json()["state"]) == (200, "ready")


def test_bind_for_another_thread_is_refused(ready: Sandboxd) -> None:
    """Bound once, bound for good; a right token for the other thread does not help."""
    body = {"thread_id": "thread-2", "generation": 1, "model": {"base_url": "http://127.0.0.1:9", "name": "demo"}}
    path = "/sandboxd/bind"
    others = [body, {**body, "thread_id": "thread-1", "generation": 2}]
    answers = [
        ready.call(
            "POST",
            path,
            other,
            token=ready.plane.control(
                "POST", path, json.dumps(other).encode(), thread=other["thread_id"], gen=other["generation"]
            ),
        )
        for other in others
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "already_bound")] * 2


def test_a_turn_arrives_in_order(ready: Sandboxd) -> None:
    """Busy, the user's message, the assistant's, its text delta by delta, idle: numbered without a gap."""
    with ready.events() as lines:
        cursor = next(lines)
        ready.prompt("say 20 words")
        turn = turn_of(lines)

    events = [line["event"] for line in turn]
    types = [event["type"] for event in events]
    deltas = [event["properties"]["delta"] for event in events if event["type"] == "message.part.delta"]
    assert list(range(cursor["last"] + 1, cursor["last"] + 1 + len(turn))) == [line["n"] for line in turn]
    assert "".join(deltas) == "".join(f"w{n} " for n in range(20))
    assert types.index("session.status") < types.index("message.part.delta") < types.index("session.idle")


def test_a_reader_resumes_from_its_cursor(ready: Sandboxd) -> None:
    """Nothing is lost and nothing comes twice when a reader takes over from another."""
    with ready.events() as lines:
        start = next(lines)["last"]
        ready.prompt("say 30 words")
        seen = turn_of(lines)
    middle = seen[len(seen) // 2]["n"]
    with ready.events(f"?after={middle}&generation=1") as lines:
        next(lines)
        rest = turn_of(lines)

    assert seen == seen[: middle - start] + rest


def test_heartbeats_come(ready: Sandboxd) -> None:
    """A reader can tell a quiet sandbox from a dead one."""
    with ready.events() as lines:
        assert any(line["type"] == "heartbeat" for line in itertools.islice(lines, 100))


def test_a_cursor_of_another_generation_is_stale(ready: Sandboxd) -> None:
    """Its numbers mean nothing here."""
    answer = ready.turn_call("GET", "/sandboxd/events?after=1&generation=2")

    assert (answer.status_code, answer.json()["code"]) == (409, "stale_generation")


def test_text_streams_while_the_model_still_talks(ready: Sandboxd, model: ScriptedModel) -> None:
    """Neither the model's proxy nor the event stream holds anything back; abort ends the turn."""
    session = ready.call("GET", "/sandboxd/status").json()["session_id"]
    with ready.events() as lines:
        next(lines)
        ready.prompt("hold")
        delta = next(
            line["event"] for line in lines if line["type"] == "event" and line["event"]["type"] == "message.part.delta"
        )
        assert not model.release.is_set()
        assert ready.turn_call("POST", f"/session/{session}/abort").status_code == 200
        turn_of(lines)

    assert delta["properties"]["delta"] == "holding"


def test_5000_deltas_arrive_and_what_fell_out_is_told(ready: Sandboxd) -> None:
    """A reader that keeps up gets them all; one that comes too late learns from where on there is something."""
    with ready.events() as lines:
        next(lines)
        ready.prompt("say 5000 words")
        turn = turn_of(lines)
    with ready.events("?after=1") as lines:
        cursor, gap, event = (next(lines) for _ in range(3))

    events = [line["event"] for line in turn]
    deltas = [event["properties"]["delta"] for event in events if event["type"] == "message.part.delta"]
    assert "".join(deltas) == "".join(f"w{n} " for n in range(5000))
    assert cursor["first"] > 2
    assert gap["type"] == "gap"
    assert gap["first"] == event["n"] >= cursor["first"]


def test_messages_are_passed_on_as_opencode_gives_them(ready: Sandboxd) -> None:
    """Body, status and type are OpenCode's; nothing in the headers helps to get past sandboxd."""
    session = ready.call("GET", "/sandboxd/status").json()["session_id"]
    answer = ready.turn_call("GET", f"/session/{session}/message")
    missing = ready.call("GET", "/session/ses_nonsense")

    assert answer.headers["content-type"] == "application/json"
    assert {"user", "assistant"} == {message["info"]["role"] for message in answer.json()}
    assert missing.status_code == 404
    assert {"www-authenticate", "set-cookie"}.isdisjoint(answer.headers)


def test_unknown_routes_are_not_found(ready: Sandboxd) -> None:
    """OpenCode would answer them with its web page."""
    answers = [ready.call("GET", path) for path in ("/", "/nonsense", "/sandboxd", "/sandboxd/nonsense")]
    answers += [ready.call("PATCH", "/sandboxd/hello")]

    assert {(404, "not_found")} == {(answer.status_code, answer.json()["code"]) for answer in answers}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"hello", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"parts":[]}', 422),
        (b'{"parts":[1]}', 422),
        (b'{"parts":[{"type":"text","text":NaN}]}', 422),
        (b'{"parts":[{"type":"text","text":%s}]}' % (b"[" * 2000 + b"]" * 2000), 422),
        (b'{"parts":[{"type":"nonsense"}]}', 400),
        (b'{"model":{"providerID":1},"parts":[{"type":"text","text":"hi"}]}', 422),
    ],
)
def test_a_malformed_prompt_is_refused(ready: Sandboxd, body: bytes, status: int) -> None:
    """By sandboxd or, where it does not mind, by OpenCode; nothing of it makes a fault of ours."""
    session = ready.call("GET", "/sandboxd/status").json()["session_id"]
    headers = {"authorization": f"Bearer {ready.plane.turn()}", "content-type": "application/json"}
    answer = ready.client.post(f"/session/{session}/prompt_async", content=body, headers=headers)

    assert answer.status_code == status, answer.text


def test_text_that_is_not_unicode_is_passed_on(ready: Sandboxd) -> None:
    """Half a surrogate pair is JSON all the same."""
    with ready.events() as lines:
        next(lines)
        ready.prompt("hi \ud800")
        assert answer_of(turn_of(lines)) == "hello"


def test_a_malformed_query_is_invalid(ready: Sandboxd) -> None:
    """Of sandboxd's own routes."""
    paths = ("/sandboxd/events?after=-1", f"/sandboxd/events?after={2**63}", "/sandboxd/status?wait=11")

    assert {(422, "invalid_request")} == {
        (answer.status_code, answer.json()["code"]) for answer in (ready.turn_call("GET", path) for path in paths)
    }


def test_the_model_gets_the_key_and_opencode_does_not(ready: Sandboxd, model: ScriptedModel) -> None:
    """It is added on the way out; neither environment nor configuration nor home holds it."""
    process = Path(f"/proc/{ready.opencode_pid()}")
    files = [path for path in ready.directory.rglob("*") if path.is_file()]

    assert {f"Bearer {API_KEY}"} == {headers["authorization"] for _, headers, _ in model.requests}
    assert API_KEY.encode() not in (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
    assert API_KEY not in ready.call("GET", "/config").text
    assert API_KEY not in ready.call("GET", "/config/providers").text
    assert not [path for path in files if API_KEY.encode() in path.read_bytes()]


def test_opencode_gets_nothing_of_sandboxds_own(ready: Sandboxd) -> None:
    """Its environment is composed, its descriptors are its own, it dies with sandboxd."""
    process = Path(f"/proc/{ready.opencode_pid()}")
    environment = (process / "environ").read_text()
    ours = _sockets(ready.process.pid)

    assert "SANDBOXD_" not in environment
    assert "ECS_" not in environment
    assert ours
    assert ours.isdisjoint(_sockets(ready.opencode_pid()))
    assert "Umask:\t0077" in (process / "status").read_text()


def _sockets(pid: int) -> set[str]:
    links = (str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
    return {link for link in links if link.startswith("socket:")}


def test_the_way_to_the_model_needs_its_path_key(ready: Sandboxd) -> None:
    """Other users of the machine reach loopback too."""
    options = ready.call("GET", "/config").json()["provider"]["default"]["options"]
    base_url, key, provider = options["baseURL"].rsplit("/", 2)

    assert len(key) > 40
    assert httpx.post(f"{base_url}/guess/{provider}/chat/completions", json={}, trust_env=False).status_code == 404


def test_opencode_itself_asks_for_a_password(ready: Sandboxd) -> None:
    """Whoever finds its port gets nothing."""
    connections = Path("/proc/net/tcp").read_text().splitlines()[1:]
    owned = _sockets(ready.opencode_pid())
    ports = {
        int(fields[1].split(":")[1], 16)
        for fields in (line.split() for line in connections)
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in owned
    }

    assert ports
    assert {401} == {httpx.get(f"http://127.0.0.1:{port}/session", trust_env=False).status_code for port in ports}


def test_no_package_is_installed_at_the_start(ready: Sandboxd) -> None:
    """OpenCode finds its plugin package where it looks for it, and asks no registry."""
    assert not list((ready.directory / "home" / ".config" / "opencode" / "node_modules").iterdir())
    assert not (ready.directory / "home" / ".npm").exists()


def test_a_dispose_breaks_the_event_stream_and_readers_are_told(ready: Sandboxd) -> None:
    """The log goes on with its numbers; the mark says that something may be missing."""
    with ready.events() as lines:
        last = next(lines)["last"]
        assert ready.call("POST", "/instance/dispose").status_code == 200
        resync = next(line for line in lines if line["type"] == "event" and line["event"]["type"] == "opencode.resync")
        ready.prompt("after the dispose")
        turn = turn_of(lines)

    assert last < resync["n"] < turn[-1]["n"]


def test_prompt_that_comes_twice_is_answered_once(ready: Sandboxd) -> None:
    """By the id of its part: whoever took over from a caller that died asks again, not knowing whether that had."""
    session = ready.call("GET", "/sandboxd/status").json()["session_id"]
    part = f"prt_{secrets.token_hex(16)}"
    body = {
        "parts": [{"id": part, "type": "text", "text": "hi"}],
        "model": {"providerID": "default", "modelID": "demo"},
    }
    with ready.events() as lines:
        next(lines)
        answers = [ready.turn_call("POST", f"/session/{session}/prompt_async", body) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [204, 204]
        assert answer_of(turn_of(lines)) == "hello"
    (cursor,) = {answer.headers["Event-Cursor"] for answer in answers}
    with ready.events(f"?after={cursor}") as lines:
        next(lines)
        assert answer_of(turn_of(lines)) == "hello"
    assert ready.turn_call("POST", f"/session/{session}/prompt_async", body).status_code == 204

    messages = ready.turn_call("GET", f"/session/{session}/message").json()
    asked = [message for message in messages if part in [each["id"] for each in message["parts"]]]
    assert len(asked) == 1
    assert [m["info"]["role"] for m in messages if m["info"].get("parentID") == asked[0]["info"]["id"]] == ["assistant"]
