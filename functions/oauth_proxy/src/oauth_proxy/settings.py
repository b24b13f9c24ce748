"""What the oauth_proxy functions are configured with; every field is a variable of theirs in template.yaml."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, in handler.py. A missing variable fails at start with its name."""

    model_config = SettingsConfigDict(frozen=True)

    table_name: str
    audit_log_group: str
    session_secret_arn: str
    connections_url: str
    sandbox_ctl_function: str
    signin_machine_arn: str
    vault_key_arn: str
    web_app_url: str
    hop_seconds: int
    codex_callback_timeout_seconds: int
    codex_abandon_seconds: int
    signins_per_hour: int
