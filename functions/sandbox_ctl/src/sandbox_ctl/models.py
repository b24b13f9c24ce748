"""Models: what a sandbox is given to reach them, and which of them a thread is offered."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, SecretStr

from threadbox.telemetry import logger

RANK = ("openai", "anthropic", "openai-api", "default")
"""The providers that are offered. The first one there is has the default: Codex, an API key, the configured model."""
KEYED = ("default", "anthropic", "openai-api")


class Model(BaseModel):
    """The configured model: an OpenAI-compatible endpoint, and a model's name there."""

    model_config = ConfigDict(frozen=True)

    base_url: str
    name: str


class ModelAccess(BaseModel):
    """What a sandbox is bound with: the configured model, keys by provider, other addresses than a provider's own."""

    model_config = ConfigDict(frozen=True)

    model: Model | None = None
    keys: dict[str, SecretStr] = {}
    base_urls: dict[str, str] = {}


class Offer(BaseModel):
    """A model a thread may choose; exactly one of a list of them is the default."""

    model_config = ConfigDict(frozen=True)

    provider: str
    id: str
    name: str
    default: bool


class KnownModel(BaseModel):
    """A model as OpenCode lists it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    name: str


class KnownProvider(BaseModel):
    """A provider as OpenCode lists it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    models: dict[str, KnownModel]


class KnownProviders(BaseModel):
    """OpenCode's answer to ``GET /config/providers``; ``default`` names a model of each provider."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    providers: list[KnownProvider]
    default: dict[str, str]

    def offers(self) -> list[Offer]:
        """Return what a thread is offered, the default's provider first; what sandboxd needs for itself is left out."""
        known = {provider.id: provider for provider in self.providers if provider.models}
        ranked = [known[id_] for id_ in RANK if id_ in known]
        offers = []
        for provider in ranked:
            default = self.default.get(provider.id) if provider is ranked[0] else None
            if provider is ranked[0] and default not in provider.models:
                default = min(provider.models)
            for id_, model in sorted(provider.models.items(), key=lambda item: item[1].name.lower()):
                offers.append(Offer(provider=provider.id, id=id_, name=model.name, default=id_ == default))
        return offers


def usable_keys(secret: Mapping[str, str]) -> dict[str, SecretStr]:
    """Return the keys of the secret that can be sent in a header; of the others the name is logged, never the value."""
    keys: dict[str, SecretStr] = {}
    for provider in KEYED:
        key = (secret.get(provider) or "").strip()
        if key.isascii() and key.isprintable():
            keys |= {provider: SecretStr(key)} if key else {}
        else:
            logger.warning("model key unusable", provider=provider)
    return keys
