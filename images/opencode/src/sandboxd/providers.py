"""
The model providers of a thread: what OpenCode is told of each, and where its calls really go.

OpenCode sees a dummy key and an address of sandboxd's proxy; address and key of the provider are an :class:`Upstream`,
which never leaves sandboxd's memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr

from sandboxd.codex import PROVIDER

ProviderId = Literal["default", "anthropic", "openai-api"]
Keys = dict[ProviderId, SecretStr]
BaseUrls = dict[Literal["anthropic", "openai-api"], AnyHttpUrl]

WARM_UP = "warm-up"
"""Provider and model of the prompt that makes OpenCode quick; sandboxd itself answers it, until the way out opens."""
NO_KEY = "added-by-sandboxd"

ANTHROPIC_URL = "https://api.anthropic.com/v1"
OPENAI_URL = "https://api.openai.com/v1"

# The embedded list that OpenCode has of OpenAI's models goes with the provider id `openai`, which is Codex's.
OPENAI_MODELS: Mapping[str, tuple[str, int, int]] = {
    "gpt-6-sol": ("GPT-6 Sol", 1_050_000, 128_000),
    "gpt-6-luna": ("GPT-6 Luna", 1_050_000, 128_000),
    "gpt-5.6": ("GPT-5.6", 1_050_000, 128_000),
    "gpt-5.5": ("GPT-5.5", 1_050_000, 128_000),
    "gpt-5.4-mini": ("GPT-5.4 mini", 400_000, 128_000),
}
"""Name, context and output limits of the models offered with an OpenAI key, by id."""
DEFAULT_MODELS: Mapping[str, str] = {"anthropic": "claude-sonnet-4-6", "openai-api": "gpt-5.6"}
"""The model of a provider that OpenCode itself would take, so that all who ask hear the same default."""


class Model(BaseModel):
    """The configured model: an OpenAI-compatible endpoint, and a model's name there."""

    model_config = ConfigDict(frozen=True)

    base_url: AnyHttpUrl
    name: str = Field(min_length=1, max_length=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where the calls of one provider go, with which credentials, and which routes they may take."""

    base_url: str
    credentials: Mapping[str, str] = field(repr=False)
    routes: frozenset[str]
    """Whoever runs in the sandbox can use the proxy: it is good for talking to a model and for nothing else."""


def upstreams(model: Model | None, keys: Keys, base_urls: BaseUrls) -> dict[str, Upstream]:
    """Return the upstreams by provider id: the configured model's, and those there is a key for. First is default."""
    found: dict[str, Upstream] = {}
    if anthropic := keys.get("anthropic"):
        found["anthropic"] = Upstream(
            base_url=_base(base_urls.get("anthropic", ANTHROPIC_URL)),
            credentials={"x-api-key": anthropic.get_secret_value()},
            routes=frozenset(("messages",)),
        )
    if openai := keys.get("openai-api"):
        found["openai-api"] = Upstream(
            base_url=_base(base_urls.get("openai-api", OPENAI_URL)),
            credentials=_bearer(openai),
            routes=frozenset(("responses", "chat/completions")),
        )
    if model:
        found["default"] = Upstream(
            base_url=_base(model.base_url),
            credentials=_bearer(keys.get("default")),
            routes=frozenset(("chat/completions",)),
        )
    return found


def compose_providers(model: Model | None, *, proxied: Mapping[str, str]) -> dict[str, object]:
    """
    Return the part of OpenCode's configuration that is about models; it holds no secret.

    *proxied* is the proxy's base URL of every provider there is, the default one first.
    """
    names = {"openai-api": "OpenAI API", "default": "Default", WARM_UP: "Warm-up"}
    packages = {
        "openai-api": "@ai-sdk/openai",
        "default": "@ai-sdk/openai-compatible",
        WARM_UP: "@ai-sdk/openai-compatible",
    }
    models = {
        "openai-api": {id_: _model(*facts) for id_, facts in OPENAI_MODELS.items()},
        "default": {model.name: _model(model.name, 128_000, 8_192)} if model else {},
        WARM_UP: {WARM_UP: _model("Warm-up", 128_000, 8_192)},
    }
    providers: dict[str, object] = {}
    for provider, base_url in proxied.items():
        entry: dict[str, object] = {"options": {"baseURL": base_url, "apiKey": NO_KEY}}
        if provider in packages:
            entry |= {"npm": packages[provider], "name": names[provider], "models": models[provider]}
        providers[provider] = entry
    composed: dict[str, object] = {"enabled_providers": [*providers, PROVIDER], "provider": providers}
    first = next(iter(proxied))
    # Without a small model OpenCode writes titles with one of the provider that the conversation is with.
    if first != WARM_UP:
        default = DEFAULT_MODELS.get(first) or (model.name if model else "")
        composed["model"] = f"{first}/{default}"
    return composed


def _model(name: str, context: int, output: int) -> dict[str, object]:
    return {"name": name, "tool_call": True, "reasoning": True, "limit": {"context": context, "output": output}}


def _bearer(key: SecretStr | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}


def _base(url: AnyHttpUrl | str) -> str:
    return str(url).rstrip("/")
