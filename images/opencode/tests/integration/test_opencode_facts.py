"""
What sandboxd relies on and no documentation promises.

When a new version of OpenCode fails here, sandboxd has to change before the pin may.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from harness import NODE_MODULES

from sandboxd.agent_home import AgentHome
from sandboxd.conversation import WARM_UP_TITLE, Conversation
from sandboxd.opencode import OpenCode, compose_launch
from sandboxd.permissions import ToolPolicy
from sandboxd.providers import DEFAULT_MODELS, OPENAI_MODELS, WARM_UP, Model, compose_providers

pytestmark = pytest.mark.anyio


@pytest.fixture
async def opencode(tmp_path: Path) -> AsyncIterator[OpenCode]:
    """An OpenCode of one's own, healthy."""
    home = AgentHome(workspace=tmp_path / "workspace", home=tmp_path / "home", uid=0, gid=0)
    home.prepare()
    opencode = OpenCode(NODE_MODULES, home)
    nowhere = "http://127.0.0.1:9"
    models = compose_providers(
        Model.model_validate({"base_url": nowhere, "name": "demo"}),
        proxied=dict.fromkeys(("anthropic", "openai-api", "default", WARM_UP), nowhere),
    )
    # With the list that goes with the id `openai` beside our own, to compare.
    models["enabled_providers"] = [*DEFAULT_MODELS, "default", WARM_UP, "openai"]
    models["provider"] |= {"openai": {"options": {"apiKey": "none", "baseURL": nowhere}}}  # type: ignore[operator]
    version = await opencode.start(compose_launch(models, ToolPolicy.READ_WRITE))
    assert version == "1.18.33"
    yield opencode
    await opencode.stop(5)


async def test_what_a_running_server_does(opencode: OpenCode) -> None:
    """One boot, all facts: a boot takes seconds."""
    client = opencode.client

    unknown = await client.get("/nonsense")
    assert (unknown.status_code, unknown.headers["content-type"].split(";")[0]) == (200, "text/html")

    async with client.stream("GET", "/event") as events:
        first = await anext(events.aiter_raw())
    assert first.startswith(b"data: {")
    assert b'"type":"server.connected"' in first[:80]
    assert first.endswith(b"}\n\n")

    anonymous = httpx.AsyncClient(base_url=client.base_url, trust_env=False)
    async with anonymous:
        assert {401} == {(await anonymous.get(path)).status_code for path in ("/global/health", "/session", "/event")}

    conversation = Conversation(client)
    await conversation.begin_warm_up()
    session = await conversation.find_or_create()
    child = await client.post("/session", json={"title": "child", "parentID": session})
    younger = await client.post("/session", json={"title": "younger"})
    titles = {listed["id"]: listed["title"] for listed in (await client.get("/session")).json()}
    assert (child.status_code, younger.status_code) == (200, 200)
    assert {"younger", WARM_UP_TITLE} <= set(titles.values())
    assert titles[session].startswith("New session - 20")
    assert await conversation.find_or_create() == session

    known = (await client.get("/config/providers")).json()
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
