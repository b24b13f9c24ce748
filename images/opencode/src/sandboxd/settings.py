"""
What the container is told, read once at the start.

Only ``SANDBOXD_CALL_KEYS`` comes with RunTask; the rest is the image's (or the local stack's) own.
"""

from pathlib import Path

from pydantic import AnyHttpUrl, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every knob of sandboxd. Sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(env_prefix="SANDBOXD_", frozen=True, extra="ignore", populate_by_name=True)

    host: str = "0.0.0.0"
    port: int = 4096
    call_keys: dict[str, str] = Field(min_length=1)
    """Key id to base64url of a raw Ed25519 public key: who may call."""
    metadata_uri: AnyHttpUrl = Field(validation_alias="ECS_CONTAINER_METADATA_URI_V4")

    workspace: Path = Path("/workspace")
    home: Path = Path("/home/agent")
    opencode: Path = Path("/opt/opencode/bin/opencode")
    """OpenCode's binary, or a node_modules directory that holds its platform packages."""
    plugin: Path = Path("/opt/opencode/node_modules")
    """A node_modules directory with ``@opencode-ai/plugin``, which the agent's own tools import; need not exist."""
    own_uid: int = 0
    """The user that sandboxd goes on as, when it was started as root; 0: it stays who it is."""
    own_gid: int = 0
    agent_uid: int = 0
    """The second user that OpenCode runs as; 0 means there is none."""
    agent_gid: int = 0

    unbound_seconds: float = 300
    boot_seconds: float = 30
    stop_seconds: float = 5
    heartbeat_seconds: float = 5
    held_seconds: float = 10
    """How long calls wait while OpenCode is restarted."""
    authorize_seconds: float = 10
    """How long the provider may take to begin a sign-in."""
    shared_network: bool = False
    """Other sandboxes share this network: OpenCode's listener for a browser's way back would be everybody's."""
    log_events: int = 20_000
    log_bytes: int = 16 * 1024 * 1024
    body_bytes: int = 8 * 1024 * 1024
