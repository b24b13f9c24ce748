"""An S3 for tests, as far as presigned forms and URLs lead: one bucket in memory, whose answers can be told to fail."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sandboxd.memory.contract import Kept, Upload
from sandboxd.memory.manifest import ARCHIVE, MANIFEST, key, thread_hash

SIGNATURE = "signed"


@dataclass
class Bucket:
    """Its objects by key; ``failures`` are statuses for the next requests, ``holding`` lets none through."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    through: threading.Event = field(default_factory=threading.Event)
    stored: threading.Condition = field(default_factory=threading.Condition)

    def prefix(self, thread: str, generation: int) -> str:
        return f"snapshots/{thread_hash(thread)}/{generation:016d}/"

    def upload(self, thread: str, generation: int, *, signature: str = SIGNATURE) -> dict[str, Any]:
        """The form that the control plane hands over, as JSON."""
        fields = {"policy": f"only-below:{self.prefix(thread, generation)}", "x-amz-signature": signature}
        return {"url": self.url, "fields": fields, "prefix": self.prefix(thread, generation)}

    def form(self, thread: str, generation: int, **changes: Any) -> Upload:
        return Upload.model_validate(self.upload(thread, generation, **changes))

    def kept(self, thread: str) -> list[dict[str, Any]]:
        """What the control plane says of the thread's versions, the newest first."""
        found = []
        for name in sorted(self.objects, reverse=True):
            if name.startswith(f"snapshots/{thread_hash(thread)}/") and name.endswith(MANIFEST):
                _, _, generation, sequence, _ = name.split("/")
                archive = key(self.prefix(thread, int(generation)), int(sequence), ARCHIVE)
                urls = {"manifest_url": f"{self.url}/{name}", "archive_url": f"{self.url}/{archive}"}
                found.append({"generation": int(generation), "sequence": int(sequence), **urls})
        return found

    def versions(self, thread: str) -> list[Kept]:
        return [Kept.model_validate(kept) for kept in self.kept(thread)]

    def memory(self, thread: str, generation: int) -> dict[str, Any]:
        """What a sandbox is bound with."""
        return {"upload": self.upload(thread, generation), "kept": self.kept(thread)}

    def until_stored(self, name: str, *, count: int = 1, seconds: float = 30) -> list[str]:
        """Wait for so many objects whose keys end so, and return their keys."""

        def found() -> list[str]:
            return sorted(key for key in self.objects if key.endswith(name))

        with self.stored:
            assert self.stored.wait_for(lambda: len(found()) >= count, seconds), sorted(self.objects)
        return found()


@contextmanager
def running_bucket() -> Iterator[Bucket]:
    """A bucket that answers."""
    bucket = Bucket()
    bucket.through.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            bucket.through.wait(30)
            self.answer(bucket.failures.pop(0) if bucket.failures else posted(bucket, self.headers, body))

        def do_GET(self) -> None:
            content = bucket.objects.get(self.path[1:])
            if bucket.failures:
                self.answer(bucket.failures.pop(0))
            else:
                self.answer(404 if content is None else 200, content or b"")

        def answer(self, status: int, content: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield bucket
    finally:
        bucket.through.set()
        server.shutdown()
        server.server_close()


def posted(bucket: Bucket, headers: Any, body: bytes) -> int:
    """Take a form as S3 does: a key below the signed prefix only."""
    boundary = headers["content-type"].partition("boundary=")[2].encode()
    fields: dict[str, bytes] = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        field_name = re.search(rb' name="([^"]+)"', head)
        assert field_name
        fields[field_name[1].decode()] = content.removesuffix(b"\r\n")
    name = fields["key"].decode()
    allowed = fields["policy"].decode().removeprefix("only-below:")
    if fields["x-amz-signature"].decode() != SIGNATURE or not name.startswith(allowed):
        return 403
    with bucket.stored:
        bucket.objects[name] = fields["file"]
        bucket.stored.notify_all()
    return 204
