"""
What is kept of a thread's sandboxes: versions in S3, below ``snapshots/<hash of the thread>/<generation>/<sequence>/``.

sandboxd writes and reads them, by presigned forms and URLs that are handed over here; it lists and deletes none. A
version counts once its manifest is there. The newest has the highest generation, then the highest sequence, so that
whatever a late sandbox of an older generation still saves never comes before it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from sandbox_ctl.daemon import DaemonClient, KeptVersion, Memory, Upload
from sandbox_ctl.sandboxes import Sandbox, SandboxStore
from threadbox.clock import unix_time
from threadbox.errors import OpenCodeError, SandboxUnavailableError
from threadbox.identifiers import thread_hash
from threadbox.objects import delete_objects
from threadbox.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

S3_CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard"},
    signature_version="s3v4",
    # Without it what is presigned leads to the global address, which redirects to all regions but one; no POST follows.
    s3={"addressing_style": "virtual"},
)
KEPT = 5
URL_LIFE = 3600
"""
Seconds. A presigned URL ends with the credentials that signed it, at the latest: those of the function's role, which
live for hours, and of which nobody says how many are left. An hour is well within them.
"""
RENEW_AFTER = 900
"""Seconds. So a form that ended before its time is replaced by a contact after a quarter of an hour."""
LARGEST = 1024**3
ARCHIVE, MANIFEST = "archive.tar.zst", "manifest.json"
PARTS = frozenset((ARCHIVE, MANIFEST))


class Version(NamedTuple):
    """The place of a version; of two the later one is the greater."""

    generation: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryService:
    """
    Hands out and tidies up.

    *client* makes the client, or returns the one it made: few calls need it, and it is slow to make.
    """

    client: "Callable[[], S3Client]"
    bucket: str
    store: SandboxStore
    daemon: DaemonClient
    now: Callable[[], float] = unix_time

    def of(self, sandbox: Sandbox) -> Memory:
        """
        Return what the sandbox is bound with: where to save, and what its generation's predecessors saved.

        Raises:
            SandboxUnavailableError: S3 does not answer.
        """
        found = self._list(sandbox.thread_id)
        complete = [version for version in self._complete(found) if version.generation < sandbox.generation]
        return Memory(upload=self._upload(sandbox), kept=[self._kept(sandbox, version) for version in complete[:KEPT]])

    def renew(self, sandbox: Sandbox) -> None:
        """
        See that the running sandbox can save for some time yet, and that no more is kept than is to be; often no call.

        What goes wrong is left to the next contact: it costs nothing as long as the form lives.
        """
        if sandbox.memory_at + RENEW_AFTER > self.now():
            return
        try:
            self.daemon.put_memory(sandbox, self._upload(sandbox))
            self.store.remembered(sandbox, at=int(self.now()))
            self.prune(sandbox)
        except (OpenCodeError, SandboxUnavailableError) as error:
            logger.warning("memory not renewed", thread_id=sandbox.thread_id, reason=str(error))

    def prune(self, sandbox: Sandbox) -> int:
        """
        Delete what is older than the newest five versions, and what older generations began and left; return how much.

        What generations above the sandbox's have left, in a table that was restored since, is not touched.

        Raises:
            SandboxUnavailableError: S3 does not answer.
        """
        found = {
            version: names
            for version, names in self._list(sandbox.thread_id).items()
            if version.generation <= sandbox.generation
        }
        complete = self._complete(found)
        kept = set(complete[:KEPT])
        old = [
            version
            for version in found
            if version not in kept and (version.generation < sandbox.generation or version in complete)
        ]
        keys = [key for version in old for key in sorted(found[version], reverse=True)]
        self._delete(keys)
        return len(old)

    def forget(self, thread_id: str, sandbox: Sandbox | None) -> int:
        """
        Delete all versions of the thread, after *sandbox*, if one runs, was told to save no more; return how many.

        Raises:
            OpenCodeError: the sandbox does not answer.
            SandboxUnavailableError: S3 does not.
        """
        if sandbox is not None:
            self.daemon.discard_memory(sandbox)
        found = self._list(thread_id)
        self._delete(sorted((key for names in found.values() for key in names), reverse=True))
        return len(found)

    def _upload(self, sandbox: Sandbox) -> Upload:
        prefix = f"{_prefix(sandbox.thread_id)}{sandbox.generation:016d}/"
        # A form, and no URLs for PUT: one signature is good for all versions of a generation, and S3 holds to the size.
        try:
            form = self.client().generate_presigned_post(
                self.bucket,
                f"{prefix}${{filename}}",
                Conditions=[["content-length-range", 1, LARGEST]],
                ExpiresIn=URL_LIFE,
            )
        except (ClientError, BotoCoreError) as exc:
            raise SandboxUnavailableError("The sandbox's memory cannot be reached just now.", retry_after=5) from exc
        fields = {name: SecretStr(value) for name, value in form["fields"].items() if name != "key"}
        return Upload(url=SecretStr(form["url"]), fields=fields, prefix=prefix)

    def _kept(self, sandbox: Sandbox, version: Version) -> KeptVersion:
        place = _place(sandbox.thread_id, version)
        return KeptVersion(
            generation=version.generation,
            sequence=version.sequence,
            manifest_url=self._readable(place + MANIFEST),
            archive_url=self._readable(place + ARCHIVE),
        )

    def _readable(self, key: str) -> SecretStr:
        parameters = {"Bucket": self.bucket, "Key": key}
        return SecretStr(self.client().generate_presigned_url("get_object", Params=parameters, ExpiresIn=URL_LIFE))

    def _list(self, thread_id: str) -> dict[Version, set[str]]:
        """Return the keys of each version, whole or not."""
        found: dict[Version, set[str]] = {}
        prefix = _prefix(thread_id)
        try:
            for page in self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    if (version := _version(entry["Key"].removeprefix(prefix))) is not None:
                        found.setdefault(version, set()).add(entry["Key"])
        except (ClientError, BotoCoreError) as exc:
            raise SandboxUnavailableError("The sandbox's memory cannot be reached just now.", retry_after=5) from exc
        return found

    def _complete(self, found: dict[Version, set[str]]) -> list[Version]:
        """Return the versions that have both parts, the newest first."""
        whole = [version for version, keys in found.items() if {key.rsplit("/", 1)[1] for key in keys} >= PARTS]
        return sorted(whole, reverse=True)

    def _delete(self, keys: Iterable[str]) -> None:
        """Delete objects, in this order: a manifest before its archive."""
        failed = SandboxUnavailableError("The sandbox's memory cannot be deleted.", retry_after=5)
        delete_objects(self.client, self.bucket, keys, otherwise=failed)


def _prefix(thread_id: str) -> str:
    return f"snapshots/{thread_hash(thread_id)}/"


def _place(thread_id: str, version: Version) -> str:
    return f"{_prefix(thread_id)}{version.generation:016d}/{version.sequence:010d}/"


def _version(rest: str) -> Version | None:
    generation, _, sequence_and_name = rest.partition("/")
    sequence = sequence_and_name.partition("/")[0]
    return Version(int(generation), int(sequence)) if generation.isdigit() and sequence.isdigit() else None
