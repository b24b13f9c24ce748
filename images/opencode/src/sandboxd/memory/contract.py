"""What the control plane hands over for a sandbox's memory, and what sandboxd tells of it."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, StringConstraints

Url = Annotated[SecretStr, Field(min_length=1, max_length=8192)]
Prefix = Annotated[str, StringConstraints(pattern=r"^snapshots/[0-9a-f]{32}/[0-9]{16}/$")]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]
FieldValue = Annotated[SecretStr, Field(max_length=8192)]


class Kept(BaseModel):
    """A version that was kept, with where it can be read for some time."""

    generation: int = Field(ge=1, lt=2**53)
    sequence: int = Field(ge=1, lt=2**53)
    manifest_url: Url
    archive_url: Url


class Upload(BaseModel):
    """
    A presigned form: S3 takes what is posted with it below ``prefix``, for some time, and nothing that is too large.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html
    """

    url: Url
    fields: dict[FieldName, FieldValue] = Field(max_length=20)
    prefix: Prefix


class Memory(BaseModel):
    """Where the sandbox's memory is kept, and what there is of earlier sandboxes of its thread, the newest first."""

    upload: Upload
    kept: list[Kept] = Field(default=[], max_length=10)


class Restored(StrEnum):
    """What became of the memory of the sandboxes before."""

    NOTHING = "nothing"
    """There was none."""
    RESTORED = "restored"
    LOST = "lost"
    """There was some, and none of it could be used."""


class MemoryStatus(BaseModel):
    """How the sandbox's memory is."""

    restored: Restored | None = Field(default=None, description="null: not known yet, or memory is not kept")
    unsaved: bool = Field(default=False, description="something changed that is not kept yet")
    saved: int | None = Field(default=None, description="the sequence that was saved last")
    problem: str | None = Field(default=None, description="why the last attempt to save failed")


class Discarded(BaseModel):
    """Nothing of this sandbox is saved from now on."""

    discarded: bool = True
