"""What the developer's environment may say about the stack."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once per command; a changed setting takes effect with the next ``make up``. Empty means not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

    threadbox_state: Path | None = None
    """Another state directory: another stack."""
    threadbox_port_base: int | None = Field(default=None, ge=1024, le=65000)
    threadbox_enforce_iam: bool = False
    """Let functions do in the embedded AWS what their roles allow, and nothing else."""
    model_base_url: str | None = None
    """An OpenAI-compatible endpoint, ending in /v1, to use instead of the demo model."""
    model_api_key: SecretStr | None = None
    anthropic_api_key: SecretStr | None = None
    anthropic_api_url: str | None = None
    """Another address for Anthropic's API, ending in /v1."""
    openai_api_key: SecretStr | None = None
    openai_api_url: str | None = None
    """Another address for OpenAI's API, ending in /v1."""
    model_name: str | None = None
    real_codex: bool = False
    """Sign in with the real identity provider: the local one is left out."""
    codex_callback_timeout_seconds: int | None = Field(default=None, gt=0, le=900)
    """How long a sign-in may wait for its approval."""
    codex_abandon_seconds: int | None = Field(default=None, gt=0, le=900)
    """How long it waits with nobody watching."""
    codex_hop_seconds: int | None = Field(default=None, gt=0, le=25)
    """How long one HTTP request waits for it."""
    codex_interval_seconds: int = Field(default=1, ge=1, le=60)
    """How often the local identity provider lets OpenCode poll, which adds three seconds of its own."""
    codex_access_seconds: int = Field(default=3600, gt=0)
    """How long its access tokens are good for."""

    sandbox_idle_seconds: int | None = Field(default=None, ge=5, le=43200)
    """After how long a sandbox that does nothing ends."""
    sandbox_life_seconds: int | None = Field(default=None, ge=10, le=604800)
    """After how long one ends as soon as no answer is under way."""
    sandboxes_per_user: int | None = Field(default=None, ge=1, le=1000)
    turns_per_minute: int | None = Field(default=None, ge=1, le=100_000)
    """Of one thread."""

    @property
    def model_keys(self) -> dict[str, str]:
        """The API keys that are set, by provider."""
        keys = {"default": self.model_api_key, "anthropic": self.anthropic_api_key, "openai-api": self.openai_api_key}
        return {provider: key.get_secret_value() for provider, key in keys.items() if key is not None}

    @property
    def demo_answers(self) -> bool:
        """Whether no real model has been configured."""
        return self.model_base_url is None and not {"anthropic", "openai-api"} & self.model_keys.keys()
