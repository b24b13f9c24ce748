"""Fetching npm without npm: only what the lock file says is unpacked."""

import base64
import hashlib
import io
import json
import runpy
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import IMAGE, _QuietHandler, _serve

PROGRAM = IMAGE / "install" / "locked_package.py"


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 2
            packed.addfile(member, io.BytesIO(b"ok"))
    return buffer.getvalue()


@pytest.fixture
def fetch(tmp_path: Path) -> Iterator[Callable[[bytes, bytes], Path]]:
    """Fetches a package whose archive is the first one, and whose lock speaks of the second."""
    served = {"/npm/-/npm-1.2.3.tgz": b""}

    class Registry(_QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served[self.path])

    server = _serve(Registry)
    program = runpy.run_path(str(PROGRAM))
    main = program["main"]
    main.__globals__["REGISTRY"] = f"http://127.0.0.1:{server.server_port}"

    def run(sent: bytes, locked: bytes) -> Path:
        served["/npm/-/npm-1.2.3.tgz"] = sent
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(locked).digest()).decode()
        lock = {"packages": {"node_modules/npm": {"version": "1.2.3", "integrity": integrity}}}
        (tmp_path / "lock.json").write_text(json.dumps(lock))
        main(str(tmp_path / "lock.json"), "npm", str(tmp_path / "npm"))
        return tmp_path / "npm"

    yield run
    server.shutdown()
    server.server_close()


def test_it_is_unpacked_without_its_outer_folder(fetch: Callable[[bytes, bytes], Path]) -> None:
    """Packages lie in one folder of the archive."""
    whole = archive("package/package.json", "package/bin/npm-cli.js")

    assert (fetch(whole, whole) / "bin" / "npm-cli.js").read_bytes() == b"ok"


def test_what_the_lock_does_not_say_is_not_unpacked(fetch: Callable[[bytes, bytes], Path], tmp_path: Path) -> None:
    """The registry, or whoever stands in its place, sends another archive."""
    with pytest.raises(SystemExit, match="is not what"):
        fetch(archive("package/evil"), archive("package/package.json"))

    assert not (tmp_path / "npm").exists()


def test_nothing_is_written_elsewhere(fetch: Callable[[bytes, bytes], Path], tmp_path: Path) -> None:
    """Even of an archive that the lock names, a path that leads out of the directory is refused."""
    hostile = archive("package/../../outside")

    with pytest.raises(tarfile.OutsideDestinationError):
        fetch(hostile, hostile)
    assert not (tmp_path / "outside").exists()
