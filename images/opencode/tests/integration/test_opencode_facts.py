"""
What sandboxd relies on and no documentation promises.

When another version of OpenCode fails here, sandboxd has to change before the pin may (make opencode-contract).
"""

import json
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from harness import NODE_MODULES, ScriptedModel, opencode_version

from sandboxd.agent_home import AgentHome
from sandboxd.conversation import WARM_UP_TITLE, Conversation
from sandboxd.opencode import OpenCode, compose_launch
from sandboxd.permissions import ToolPolicy
from sandboxd.providers import DEFAULT_MODELS, OPENAI_MODELS, WARM_UP, Model, compose_providers

pytestmark = [pytest.mark.anyio, pytest.mark.facts]

SIGTERM_SECONDS = 5


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for all facts: a boot takes seconds."""
    return "asyncio"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> AgentHome:
    directory = tmp_path_factory.mktemp("facts")
    home = AgentHome(workspace=directory / "workspace", home=directory / "home", uid=0, gid=0)
    home.prepare()
    return home


@pytest.fixture(scope="module")
async def opencode(home: AgentHome, model: ScriptedModel, anyio_backend: str) -> AsyncIterator[OpenCode]:
    """An OpenCode of one's own, healthy, with the scripted model behind it."""
    opencode = OpenCode(NODE_MODULES, home)
    nowhere = "http://127.0.0.1:9"
    proxied = {**dict.fromkeys(("anthropic", "openai-api", WARM_UP), nowhere), "default": model.base_url}
    models = compose_providers(Model.model_validate({"base_url": nowhere, "name": "demo"}), proxied=proxied)
    # With the list that goes with the id `openai` beside our own, to compare.
    models["enabled_providers"] = [*DEFAULT_MODELS, "default", WARM_UP, "openai"]
    models["provider"] |= {"openai": {"options": {"apiKey": "none", "baseURL": nowhere}}}  # type: ignore[operator]
    assert await opencode.start(compose_launch(models, ToolPolicy.READ_WRITE)) == opencode_version()
    yield opencode
    await opencode.stop(SIGTERM_SECONDS)


async def turn(opencode: OpenCode, text: str, *, until: str = "session.idle") -> list[dict[str, Any]]:
    """The events from a prompt in a new session on, up to one of the type *until*."""
    client = opencode.client
    session = (await client.post("/session", json={"title": "a turn"})).json()["id"]
    events: list[dict[str, Any]] = []
    async with client.stream("GET", "/event", timeout=30) as stream:
        async for line in stream.aiter_lines():
            if not line.startswith("data: "):
                continue
            event = json.loads(line.removeprefix("data: "))
            if event["type"] == "server.connected":
                model = {"providerID": "default", "modelID": "demo"}
                prompt = {"model": model, "parts": [{"type": "text", "text": text}]}
                assert (await client.post(f"/session/{session}/prompt_async", json=prompt)).status_code == 204
            elif session in json.dumps(event):
                events.append(event)
                if event["type"] == until:
                    return events
    raise AssertionError([event["type"] for event in events])


async def test_what_is_no_route_answers_a_page(opencode: OpenCode) -> None:
    """An unknown path answers 200 with HTML, so the content type has to be looked at."""
    unknown = await opencode.client.get("/nonsense")

    assert (unknown.status_code, unknown.headers["content-type"].split(";")[0]) == (200, "text/html")


async def test_events_begin_with_a_greeting(opencode: OpenCode) -> None:
    """The event stream's first line says that it is connected: what happens from then on is in it."""
    async with opencode.client.stream("GET", "/event") as events:
        first = await anext(events.aiter_raw())

    assert first.startswith(b"data: {")
    assert b'"type":"server.connected"' in first[:80]
    assert first.endswith(b"}\n\n")


async def test_nothing_answers_without_the_password(opencode: OpenCode) -> None:
    """Health, sessions and events are closed to who does not have it."""
    async with httpx.AsyncClient(base_url=opencode.client.base_url, trust_env=False) as anonymous:
        assert {401} == {(await anonymous.get(path)).status_code for path in ("/global/health", "/session", "/event")}


async def test_sessions_are_found_again(opencode: OpenCode) -> None:
    """Titles, parents and dates tell the thread's session from others; one without a title is named by its date."""
    conversation = Conversation(opencode.client)
    await conversation.begin_warm_up()
    session = await conversation.find_or_create()
    child = await opencode.client.post("/session", json={"title": "child", "parentID": session})
    younger = await opencode.client.post("/session", json={"title": "younger"})
    titles = {listed["id"]: listed["title"] for listed in (await opencode.client.get("/session")).json()}

    assert (child.status_code, younger.status_code) == (200, 200)
    assert {"younger", WARM_UP_TITLE} <= set(titles.values())
    assert titles[session].startswith("New session - 20")
    assert await conversation.find_or_create() == session


async def test_the_models_are_as_we_list_them(opencode: OpenCode) -> None:
    """Names and limits of OpenAI's models, tools allowed, and the defaults of each provider."""
    known = (await opencode.client.get("/config/providers")).json()
    models = {provider["id"]: provider["models"] for provider in known["providers"]}
    facts = {
        id_: (model["name"], model["limit"]["context"], model["limit"]["output"])
        for id_, model in models["openai"].items()
    }

    assert {id_: facts[id_] for id_ in OPENAI_MODELS} == dict(OPENAI_MODELS)
    assert all(models["openai"][id_]["capabilities"]["toolcall"] for id_ in OPENAI_MODELS)
    assert set(models["openai-api"]) == set(OPENAI_MODELS)
    assert {id_: known["default"][id_] for id_ in DEFAULT_MODELS} == dict(DEFAULT_MODELS)
    assert (known["default"]["default"], known["default"][WARM_UP]) == ("demo", WARM_UP)


async def test_a_turn_is_told_in_order(opencode: OpenCode) -> None:
    """Busy, the assistant's message, its text delta by delta and then whole, finished, idle."""
    events = await turn(opencode, "say 20 words")
    deltas = [event["properties"] for event in events if event["type"] == "message.part.delta"]
    finished = [
        event["properties"]["info"]
        for event in events
        if event["type"] == "message.updated" and event["properties"]["info"].get("finish")
    ]
    statuses = [event["properties"]["status"]["type"] for event in events if event["type"] == "session.status"]

    assert "".join(delta["delta"] for delta in deltas).split() == [f"w{number}" for number in range(20)]
    assert all(delta.keys() >= {"sessionID", "messageID", "partID", "field"} for delta in deltas)
    assert {delta["field"] for delta in deltas} == {"text"}
    assert [(info["role"], info["finish"]) for info in finished][-1] == ("assistant", "stop")
    assert (statuses[0], statuses[-1]) == ("busy", "idle")


async def test_a_tool_is_told_from_call_to_output(opencode: OpenCode) -> None:
    """Its part goes from pending over running to completed with its output; then another message answers."""
    events = await turn(opencode, "run echo found")
    parts = [event["properties"]["part"] for event in events if event["type"] == "message.part.updated"]
    states = [part["state"] for part in parts if part["type"] == "tool"]
    finishes = [
        event["properties"]["info"]["finish"]
        for event in events
        if event["type"] == "message.updated" and event["properties"]["info"].get("finish")
    ]

    assert [state["status"] for state in states][:2] == ["pending", "running"]
    assert (states[-1]["status"], states[-1]["output"].strip()) == ("completed", "found")
    assert list(dict.fromkeys(finishes)) == ["tool-calls", "stop"]


async def test_a_question_about_a_permission_can_be_answered(opencode: OpenCode) -> None:
    """What is outside of the workspace is asked about, and a rejection ends the turn."""
    asked = (await turn(opencode, "run cat /etc/hostname", until="permission.asked"))[-1]["properties"]
    answer = await opencode.client.post(f"/permission/{asked['id']}/reply", json={"reply": "reject"})

    assert (asked["permission"], answer.status_code) == ("external_directory", 200)


async def test_an_abort_ends_the_turn(opencode: OpenCode) -> None:
    """It answers at once, the session is no longer listed as busy, and what was said stays."""
    begun = (await turn(opencode, "hold", until="message.part.delta"))[-1]["properties"]
    session = begun["sessionID"]
    busy = (await opencode.client.get("/session/status")).json()
    aborted = await opencode.client.post(f"/session/{session}/abort")
    messages = (await opencode.client.get(f"/session/{session}/message")).json()
    left = (await opencode.client.get("/session/status")).json()

    assert (session in busy, aborted.status_code, session in left) == (True, 200, False)
    assert [part["text"] for part in messages[-1]["parts"] if part["type"] == "text"] == ["holding"]
    assert messages[-1]["info"]["error"]["name"] == "MessageAbortedError"


async def test_a_dispose_keeps_the_sessions(opencode: OpenCode) -> None:
    """What reads configuration and credentials anew is a route, and it forgets no session."""
    before = {session["id"] for session in (await opencode.client.get("/session")).json()}
    disposed = await opencode.client.post("/instance/dispose")

    assert (disposed.status_code, disposed.headers["content-type"]) == (200, "application/json")
    assert {session["id"] for session in (await opencode.client.get("/session")).json()} == before


async def test_sessions_lie_in_one_database(opencode: OpenCode, home: AgentHome) -> None:
    """SQLite with a write-ahead log, in the data directory under a fixed name."""
    listed = {session["id"] for session in (await opencode.client.get("/session")).json()}
    database = home.data / "opencode" / "opencode.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()
        stored = {row[0] for row in connection.execute("SELECT id FROM session")}
    connection.close()

    assert (mode, listed <= stored, bool(listed)) == (("wal",), True, True)


async def test_the_plugin_package_is_not_fetched(opencode: OpenCode, home: AgentHome) -> None:
    """What looks installed in its configuration directory is left alone: no attempt to reach npm's registry."""
    config = home.home / ".config" / "opencode"

    assert list((config / "node_modules").iterdir()) == []
    assert "plugin" not in opencode.last_output()


async def test_sigterm_is_enough(opencode: OpenCode) -> None:
    """It ends within a few seconds by itself. Comes last: it is the end of the server that is looked at."""
    process = opencode._process
    assert process is not None
    await opencode.stop(SIGTERM_SECONDS)

    assert process.returncode != -9
