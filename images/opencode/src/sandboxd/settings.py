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
    idle_seconds: float = Field(default=900, gt=0)
    """Without a turn, an attempt to sign in, a command or a call for so long, it ends."""
    life_seconds: float = Field(default=43_200, gt=0)
    """So long after it was ready it ends, between turns."""
    warm_up_seconds: float = 2
    """Without a prompt for so long once it answers, OpenCode is made ready for its first one."""
    boot_seconds: float = 30
    stop_seconds: float = 5
    heartbeat_seconds: float = 5
    held_seconds: float = 10
    """How long calls wait while OpenCode is restarted."""
    authorize_seconds: float = 10
    """How long the provider may take to begin a sign-in."""
    shared_network: bool = False
    """Other sandboxes share this network: OpenCode's listener for a browser's way back would be everybody's."""
    parallel_execs: int = 8
    parallel_files: int = 4
    file_seconds: float = 25
    """How long one may take, to or from a bucket too."""
    git_over_http: bool = False
    """Repositories at loopback addresses may be fetched by plain http: for tests."""
    memory_bytes: int = 1024**3
    """The largest archive of workspace and database; the control plane's form says the same."""
    memory_content_bytes: int = 4 * 1024**3
    memory_entries: int = 200_000
    save_seconds: float = 60
    """At least so long from one save to the next."""
    settle_seconds: float = 1
    """So long after a turn it may be saved."""
    finish_seconds: float = 15
    """How long the save at the end may take, which ECS waits for (StopTimeout)."""
    restore_seconds: float = 120
    log_events: int = 20_000
    log_bytes: int = 16 * 1024 * 1024
    body_bytes: int = 8 * 1024 * 1024
