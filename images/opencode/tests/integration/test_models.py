"""Models of several providers, through the real OpenCode and its bundled packages, to a scripted endpoint."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import (
    ANTHROPIC_KEY,
    API_KEY,
    OPENAI_KEY,
    TITLE,
    ControlPlane,
    Sandboxd,
    ScriptedModel,
    answer_of,
    running,
    turn_of,
)
from identity_provider import eventually

from sandboxd.conversation import WARM_UP_TITLE

pytestmark = pytest.mark.facts


@pytest.fixture(scope="module")
def sandboxd(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxd]:
    """A sandbox with a key for every provider, that reaches nothing but the scripted model."""
    with running(ControlPlane(), tmp_path_factory.mktemp("models"), warm_up_seconds=0) as sandboxd:
        keys = {"default": API_KEY, "anthropic": ANTHROPIC_KEY, "openai-api": OPENAI_KEY}
        elsewhere = {"anthropic": model.base_url, "openai-api": model.base_url}
        assert sandboxd.bind(model, keys=keys, base_urls=elsewhere).status_code == 200
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        yield sandboxd


@pytest.mark.parametrize(
    ("name", "path", "credential"),
    [
        ("anthropic/claude-sonnet-4-6", "messages", ("x-api-key", ANTHROPIC_KEY)),
        ("openai-api/gpt-5.6", "responses", ("authorization", f"Bearer {OPENAI_KEY}")),
        ("default/demo", "chat/completions", ("authorization", f"Bearer {API_KEY}")),
    ],
)
def test_each_provider_is_asked_in_its_own_words_with_its_own_key(
    sandboxd: Sandboxd, model: ScriptedModel, name: str, path: str, credential: tuple[str, str]
) -> None:
    """The packages are part of OpenCode: nothing is installed, and no other key goes along."""
    model.requests.clear()

    with sandboxd.events() as lines:
        next(lines)
        sandboxd.prompt("hi", model=name)
        answer = answer_of(turn_of(lines))

    assert answer == {"messages": "bonjour", "responses": "salut", "chat/completions": "hello"}[path]
    asked, headers = next(
        (asked, headers) for asked, headers, body in model.requests if body["model"] == name.partition("/")[2]
    )
    assert asked == f"/v1/{path}"
    assert [(header, headers[header]) for header in ("authorization", "x-api-key") if header in headers] == [credential]


def test_the_default_is_a_provider_with_a_key(sandboxd: Sandboxd) -> None:
    """What is prompted without naming a model goes to the model that the list calls the default."""
    config = sandboxd.call("GET", "/config").json()
    known = sandboxd.call("GET", "/config/providers").json()

    assert config["model"] == f"anthropic/{known['default']['anthropic']}"
    assert "small_model" not in config


def test_the_warm_up_is_over_once_there_is_a_way_out(sandboxd: Sandboxd, model: ScriptedModel) -> None:
    """Its model cannot be talked to; that fails at once and calls nobody."""
    eventually(lambda: WARM_UP_TITLE not in [session["title"] for session in sandboxd.call("GET", "/session").json()])
    assert "warmed up" in sandboxd.log()
    model.requests.clear()

    with sandboxd.events() as lines:
        next(lines)
        sandboxd.prompt("hi", model="warm-up/warm-up")
        turn = turn_of(lines)

    assert "no model is configured" in json.dumps(turn)
    assert model.requests == []


def test_first_prompt_takes_the_warm_ups_place(model: ScriptedModel, tmp_path: Path) -> None:
    """It warms OpenCode up as well, and whoever waits for its answer is not slowed down by another."""
    with running(ControlPlane(), tmp_path, warm_up_seconds=60) as sandboxd:
        sandboxd.bind(model)
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        assert len(sandboxd.call("GET", "/session").json()) == 2, "the warm-up's session is there from the start"
        with sandboxd.events() as lines:
            next(lines)
            sandboxd.prompt("hi")
            answer = answer_of(turn_of(lines))
        eventually(lambda: len(sandboxd.call("GET", "/session").json()) == 1)

    assert (answer, "warmed up" in sandboxd.log()) == ("hello", False)


def test_title_is_found_beside_the_answer(model: ScriptedModel, tmp_path: Path) -> None:
    """The first message gives the session a title; the answer does not wait for it, however long it takes."""
    model.titles.clear()
    with running(ControlPlane(), tmp_path) as sandboxd:
        sandboxd.bind(model)
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        with sandboxd.events() as lines:
            next(lines)
            sandboxd.prompt("hi")
            turn = turn_of(lines)
            model.titles.set()
            renamed = (
                line["event"]["properties"]["info"]["title"]
                for line in lines
                if line["type"] == "event" and line["event"]["type"] == "session.updated"
            )
            title = next(title for title in renamed if not title.startswith("New session - "))

    assert (answer_of(turn), title) == ("hello", TITLE)


def test_without_any_model_the_sandbox_works_and_a_prompt_says_so(tmp_path: Path) -> None:
    """A model may come later (by sign-in); until then the answer is an error in words, also while OpenCode warms up."""
    with running(ControlPlane(), tmp_path, warm_up_seconds=0) as sandboxd:
        sandboxd.bind(model=None, keys={})
        assert sandboxd.until_ready()["state"] == "ready", sandboxd.log()
        session = sandboxd.call("GET", "/sandboxd/status").json()["session_id"]
        with sandboxd.events() as lines:
            next(lines)
            parts = [{"type": "text", "text": "hi"}]
            sandboxd.turn_call("POST", f"/session/{session}/prompt_async", {"parts": parts})
            turn = turn_of(lines)

    assert "no model is configured" in json.dumps(turn)
