"""What OpenCode is told of the providers, and what it is not."""

import json
from typing import Any

from harness import ANTHROPIC_KEY, API_KEY, OPENAI_KEY
from pydantic import SecretStr

from sandboxd.contract import Bind
from sandboxd.providers import WARM_UP, compose_providers, upstreams

DEFAULT = {"base_url": "https://model.example/v1/", "name": "demo"}
KEYS = {"default": API_KEY, "anthropic": ANTHROPIC_KEY, "openai-api": OPENAI_KEY}


def bind(**changes: Any) -> Bind:
    return Bind.model_validate({"thread_id": "t", "generation": 1, "model": DEFAULT, "keys": KEYS} | changes)


def composed(request: Bind) -> dict[str, Any]:
    ways_out = upstreams(request.model, request.keys, request.base_urls)
    proxied = {provider: f"http://127.0.0.1:9/{provider}" for provider in (*ways_out, WARM_UP)}
    return compose_providers(request.model, proxied=proxied)


def test_keys_are_in_the_credentials_and_nowhere_else() -> None:
    """Neither in the configuration, nor in what is printed of a bind or an upstream."""
    request = bind()
    ways_out = upstreams(request.model, request.keys, request.base_urls)

    written = json.dumps(composed(request)) + repr(request) + request.model_dump_json() + repr(ways_out)

    assert not [key for key in KEYS.values() if key in written]
    assert ways_out["anthropic"].credentials == {"x-api-key": ANTHROPIC_KEY}
    assert ways_out["openai-api"].credentials == {"authorization": f"Bearer {OPENAI_KEY}"}
    assert ways_out["default"].credentials == {"authorization": f"Bearer {API_KEY}"}


def test_calls_go_to_the_providers_own_addresses_unless_told_otherwise() -> None:
    """A gateway may stand in for a provider."""
    own = upstreams(bind().model, bind().keys, {})
    moved = bind(base_urls={"anthropic": "https://gateway.example/anthropic/v1/"})
    other = upstreams(moved.model, moved.keys, moved.base_urls)

    assert {name: way.base_url for name, way in own.items()} == {
        "anthropic": "https://api.anthropic.com/v1",
        "openai-api": "https://api.openai.com/v1",
        "default": "https://model.example/v1",
    }
    assert other["anthropic"].base_url == "https://gateway.example/anthropic/v1"


def test_a_provider_is_there_with_its_key_only() -> None:
    """The configured model needs none; a key for it without a model is no provider. Signing in is always possible."""
    assert composed(bind(keys={}))["enabled_providers"] == ["default", WARM_UP, "openai"]
    assert composed(bind(keys={"openai-api": "k"}))["enabled_providers"] == ["openai-api", "default", WARM_UP, "openai"]
    assert composed(bind(model=None))["enabled_providers"] == ["anthropic", "openai-api", WARM_UP, "openai"]
    assert composed(bind(model=None, keys={"default": "k"}))["enabled_providers"] == [WARM_UP, "openai"]


def test_the_default_is_a_provider_with_a_key_else_the_configured_model() -> None:
    """And nothing when there is neither."""
    assert composed(bind())["model"].startswith("anthropic/claude-")
    assert composed(bind(keys={"openai-api": "k"}))["model"].startswith("openai-api/gpt-")
    assert composed(bind(keys={}))["model"] == "default/demo"
    assert "model" not in composed(bind(model=None, keys={}))


def test_a_key_is_kept_as_a_secret() -> None:
    """What is logged by mistake shows stars."""
    assert isinstance(bind().keys["anthropic"], SecretStr)
