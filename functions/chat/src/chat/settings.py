"""What the chat functions are configured with; every field is a variable of theirs in template.yaml."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, in handler.py. A missing variable fails at start with its name."""

    model_config = SettingsConfigDict(frozen=True)

    table_name: str
    audit_log_group: str
    bodies_bucket: str
    session_secret_arn: str
    connections_url: str
    turn_function: str
    sandbox_ctl_function: str
    turn_seconds: int
    ask_seconds: int
    handover_seconds: int
    turns_per_minute: int
    sockets_per_thread: int
