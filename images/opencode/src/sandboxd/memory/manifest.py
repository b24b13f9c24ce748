"""The manifest, which is written last and makes a version of a thread's memory valid."""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ARCHIVE = "archive.tar.zst"
MANIFEST = "manifest.json"
MANIFEST_BYTES = 16 * 1024


class Manifest(BaseModel):
    """What a version is, and whose."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    thread: str = Field(pattern=r"^[0-9a-f]{32}$")
    generation: int = Field(ge=1, lt=2**53)
    sequence: int = Field(ge=1, lt=2**53)
    opencode_version: str = Field(max_length=64)
    session_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")
    saved_at: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1)
    entries: int = Field(ge=0)
    content: int = Field(ge=0)


def thread_hash(thread_id: str) -> str:
    """What stands for the thread in keys and manifests, here as at the control plane."""
    return hashlib.sha256(thread_id.encode()).hexdigest()[:32]


def key(prefix: str, sequence: int, name: str) -> str:
    """The key of an object of a version: in the order of keys the newest version comes last."""
    return f"{prefix}{sequence:010d}/{name}"
