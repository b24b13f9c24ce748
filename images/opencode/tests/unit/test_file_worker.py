"""Paths: nothing outside of the workspace is read, written, listed or removed, whatever is asked for and lies there."""

import ctypes
import io
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxd import paths
from sandboxd.file_worker import OPERATIONS, Job, RefusedError

SECRET = b"outside"
NAMES = st.sampled_from(["a", "b", "up", "out", "etc", "loop", "file", "..", ".", "", "\0", "x" * 300, "ä", "\ud800"])
PATHS = st.one_of(st.lists(NAMES, max_size=5).map("/".join), st.text(max_size=20), st.just("/etc/passwd"))


@contextmanager
def workspace() -> Iterator[tuple[Path, Path]]:
    """One with links of all kinds in it, and a folder outside of it."""
    with tempfile.TemporaryDirectory() as folder:
        inside, outside = Path(folder, "workspace"), Path(folder, "outside")
        (inside / "a" / "b").mkdir(parents=True)
        (outside / "a").mkdir(parents=True)
        for place in (outside / "file", outside / "a" / "file"):
            place.write_bytes(SECRET)
        (inside / "file").write_bytes(b"inside")
        for place in (inside, inside / "a", inside / "a" / "b"):
            (place / "up").symlink_to("..")
            (place / "out").symlink_to(outside)
            (place / "etc").symlink_to(outside / "file")
            (place / "loop").symlink_to("loop")
        yield inside, outside


def work(operation: str, root: Path, path: str, content: bytes = b"", *, recursive: bool = False) -> tuple[Any, bytes]:
    """The report of an operation, and the bytes behind it; None where it is refused."""
    sink = io.BytesIO()
    try:
        job = Job(
            operation=operation,
            workspace=str(root),
            path=list(paths.parse(path)),
            uid=0,
            gid=0,
            limit=1000,
            size=len(content),
            recursive=recursive,
        )
        OPERATIONS[operation](job, io.BytesIO(content), sink)
    except (paths.PathError, RefusedError, OSError):
        return None, b""
    report, _, rest = sink.getvalue().partition(b"\n")
    return json.loads(report), rest


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def exchange(one: Path, other: Path) -> None:
    """Each has the other's name, at once."""
    here, exchanging = -100, 2
    assert ctypes.CDLL(None).renameat2(here, bytes(one), here, bytes(other), exchanging) == 0


@given(path=PATHS, operation=st.sampled_from(sorted(OPERATIONS)), recursive=st.booleans())
def test_no_path_leads_out(path: str, operation: str, *, recursive: bool) -> None:
    """Neither upwards nor by a link, in any position."""
    with workspace() as (inside, outside):
        before = everything(outside)
        report, content = work(operation, inside, path, b"new", recursive=recursive)

        assert everything(outside) == before
        assert SECRET not in content
        # Of what is outside there are fewer names, and no links.
        assert operation != "list" or report is None or "b" in path or len(report["entries"]) >= 4


@pytest.mark.parametrize("operation", ["put", "get", "delete"])
def test_race_with_a_link_is_won_by_nobody(operation: str) -> None:
    """A folder of the path becomes a link outwards and a folder again, over and over: outside nothing happens."""
    with workspace() as (inside, outside):
        before = everything(outside)
        folder, link = inside / "a", inside / "link"
        link.symlink_to(outside / "a")
        over = threading.Event()

        def swap() -> None:
            while not over.is_set():
                exchange(folder, link)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            read = [work(operation, inside, "a/file", b"new")[1] for _ in range(400)]
        finally:
            over.set()
            thread.join()

        assert SECRET not in read
        assert everything(outside) == before


def test_file_is_put_whole_or_not_at_all() -> None:
    """Too few or too many bytes change nothing, and leave nothing behind."""
    with workspace() as (inside, _):
        before = everything(inside)
        job = Job(operation="put", workspace=str(inside), path=["file"], uid=0, gid=0, limit=0, size=3, recursive=False)
        for content in (b"ab", b"abcd"):
            with pytest.raises(RefusedError):
                OPERATIONS["put"](job, io.BytesIO(content), io.BytesIO())

        assert everything(inside) == before


def test_file_keeps_its_mode() -> None:
    """A script stays executable; a new file is its user's alone."""
    with workspace() as (inside, _):
        (inside / "file").chmod(0o755)
        for name in ("file", "a/new"):
            assert work("put", inside, name, b"new")[0] == {"size": 3}

        assert [(inside / name).stat().st_mode & 0o777 for name in ("file", "a/new")] == [0o755, 0o600]


def test_what_is_no_file_is_not_opened() -> None:
    """A pipe that nobody writes to is waited for by nobody."""
    with workspace() as (inside, _):
        os.mkfifo(inside / "pipe")

        assert [work(operation, inside, "pipe", b"x")[0] for operation in ("get", "put")] == [None, None]
        assert work("delete", inside, "pipe") == ({"removed": True}, b"")


def test_folder_is_removed_with_all_in_it_only_if_that_is_meant() -> None:
    """And links in it are removed, not what they lead to; once removed it stays so."""
    with workspace() as (inside, outside):
        before = everything(outside)
        refused, _ = work("delete", inside, "a")
        removed = [work("delete", inside, "a", recursive=True)[0] for _ in range(2)]

        assert (refused, removed) == (None, [{"removed": True}, {"removed": False}])
        assert everything(outside) == before
