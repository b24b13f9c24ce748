"""What sandbox_ctl is configured with; every field is a variable of it in template.yaml."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, in handler.py. A missing variable fails at start with its name."""

    model_config = SettingsConfigDict(frozen=True, protected_namespaces=())

    table_name: str
    audit_log_group: str
    session_secret_arn: str
    call_secret_arn: str
    connections_url: str
    cluster: str
    task_definition: str
    sandbox_subnets: str
    sandbox_security_group: str
    sandbox_sizes: str
    sandbox_size: str
    sandboxes_per_user: int
    sandbox_life_seconds: int
    model_base_url: str
    model_name: str
    model_keys_secret_arn: str
    anthropic_api_url: str
    openai_api_url: str
    codex_issuer_url: str
    vault_key_arn: str
    sandbox_bucket_name: str
    flags_application: str
    flags_environment: str
    flags_profile: str
    execs_per_minute: int

    @property
    def subnets(self) -> list[str]:
        """Return the subnets that tasks are placed in."""
        return [subnet.strip() for subnet in self.sandbox_subnets.split(",") if subnet.strip()]
