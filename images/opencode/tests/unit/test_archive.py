"""Packing and unpacking: what comes back, and what is refused. Property tests pack real trees."""

# Names are bytes here.
# ruff: noqa: PTH101, PTH102, PTH115, PTH118, PTH123, PTH211
import io
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandboxd.memory.archive import (
    DIRECTORY,
    FILE,
    SYMLINK,
    ArchiveError,
    ArchiveReader,
    ArchiveWriter,
    Entry,
    Limits,
    zstd,
)
from sandboxd.memory.database import DatabaseError
from sandboxd.memory.pack import CACHES, SIGNATURE, pack
from sandboxd.memory.unpack import unpack

MANY = Limits(content=1 << 26, entries=1000)
SIZE = 1 << 26

NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda n: not set(n) & set(b"/\0") and n not in {b".", b"..", *CACHES}
)
LONG = st.integers(100, 255).map(lambda length: b"n" * length)
CONTENT = st.one_of(st.binary(max_size=2000), st.integers(0, 700_000).map(lambda length: b"ab" * (length // 2)))
LEAVES = st.one_of(
    st.tuples(st.just("file"), CONTENT, st.integers(0, 0o777)),
    st.tuples(st.just("link"), st.binary(min_size=1, max_size=300).filter(lambda t: b"\0" not in t)),
)
TREES: st.SearchStrategy[dict[bytes, object]] = st.recursive(
    st.dictionaries(st.one_of(NAMES, LONG), LEAVES, max_size=4),
    lambda inner: st.dictionaries(st.one_of(NAMES, LONG), st.one_of(LEAVES, inner), max_size=4),
    max_leaves=12,
)


@contextmanager
def scratch() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="memory-"))
    try:
        yield directory
    finally:
        for folder, _, _ in os.walk(directory):
            os.chmod(folder, 0o700)
        shutil.rmtree(directory)


def plant(root: bytes, tree: dict[bytes, Any]) -> None:
    os.mkdir(root)
    for name, node in tree.items():
        path = root + b"/" + name
        if isinstance(node, dict):
            plant(path, node)
        elif node[0] == "file":
            with open(path, "wb") as file:
                file.write(node[1])
            os.chmod(path, node[2])
        else:
            os.symlink(node[1], path)


def seen(root: Path) -> dict[bytes, object]:
    """Everything below *root*: kinds, permissions, times and contents."""
    found: dict[bytes, object] = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                what: object = os.readlink(path)
            elif stat.S_ISDIR(status.st_mode):
                what = stat.S_IMODE(status.st_mode)
            else:
                what = (stat.S_IMODE(status.st_mode), int(status.st_mtime), Path(os.fsdecode(path)).read_bytes())
            found[os.path.relpath(path, os.fsencode(root))] = what
    return found


def packed(workspace: Path, database: Path, *, limits: Limits = MANY, size: int = SIZE) -> bytes:
    with tempfile.TemporaryFile() as file:
        report = pack(workspace, database, file.fileno(), limits=limits, size=size)
        file.seek(0)
        content = file.read()
    assert report["size"] == len(content)
    return content


def unpacked(archive: bytes, directory: Path, *, limits: Limits = MANY) -> dict[str, int]:
    workspace = directory / "restored"
    workspace.mkdir(exist_ok=True)
    with tempfile.TemporaryFile() as file:
        file.write(archive)
        file.seek(0)
        return unpack(workspace, directory / "restored.db", file.fileno(), limits=limits)


@given(tree=TREES)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_lies_in_the_workspace_comes_back(tree: dict[bytes, object]) -> None:
    """Any names, contents, permissions and links; the archive says how much it holds."""
    with scratch() as directory:
        plant(os.fsencode(directory / "workspace"), tree)
        if os.geteuid() != 0:
            for folder, _, files in os.walk(directory):
                for name in files:
                    path = Path(folder, name)
                    if not path.is_symlink():
                        path.chmod(path.stat().st_mode | 0o400)
        archive = packed(directory / "workspace", directory / "none.db")
        unpacked(archive, directory)

        assert seen(directory / "workspace") == seen(directory / "restored")


@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=3))
@settings(deadline=None, max_examples=60)
def test_archive_that_was_tampered_with_is_refused_or_the_same(flips: list[tuple[int, int]]) -> None:
    """Whatever bytes of it are others: nothing but a refusal, which leaves nothing behind, or what it was."""
    with scratch() as directory:
        plant(
            os.fsencode(directory / "workspace"),
            {b"a": ("file", b"content " * 50, 0o644), b"b": {b"c": ("link", b"a")}},
        )
        archive = bytearray(packed(directory / "workspace", directory / "none.db"))
        for place, change in flips:
            archive[place % len(archive)] ^= change
        try:
            unpacked(bytes(archive), directory)
        except (ArchiveError, DatabaseError):
            assert seen(directory / "restored") == {}
        else:
            assert all(path.is_relative_to(directory) for path in (directory / "restored").rglob("*"))
            assert {b"a", b"b", b"b/c"} == set(seen(directory / "restored"))


@given(end=st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_archive_that_ends_early_is_refused(end: int) -> None:
    """At whatever byte."""
    with scratch() as directory:
        plant(os.fsencode(directory / "workspace"), {b"a": ("file", os.urandom(900), 0o644)})
        archive = packed(directory / "workspace", directory / "none.db")
        with pytest.raises(ArchiveError):
            unpacked(archive[: end % len(archive)], directory)
        assert seen(directory / "restored") == {}


def written(*entries: tuple[Entry, bytes], limits: Limits = MANY) -> bytes:
    out = io.BytesIO()
    archive = ArchiveWriter(out, limits=limits, size=SIZE)
    for entry, content in entries:
        archive.begin(entry)
        archive.content_of(io.BytesIO(content).read, entry.size)
    archive.close()
    return out.getvalue()


def directory_entry(path: bytes) -> tuple[Entry, bytes]:
    return Entry(path=path, kind=DIRECTORY, mode=0o755, size=0, mtime=1), b""


def file_entry(path: bytes, content: bytes = b"x") -> tuple[Entry, bytes]:
    return Entry(path=path, kind=FILE, mode=0o644, size=len(content), mtime=1), content


def link_entry(path: bytes, target: bytes) -> tuple[Entry, bytes]:
    return Entry(path=path, kind=SYMLINK, mode=0o777, size=0, mtime=1, target=target), b""


def foreign(*members: Callable[[tarfile.TarInfo], None]) -> bytes:
    """An archive of tarfile's, with members that we never write."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for change in members:
            member = tarfile.TarInfo("workspace/a")
            change(member)
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return zstd.compress(out.getvalue()[: -(len(out.getvalue()) % 10240) or None])


def typed(kind: bytes, **more: object) -> Callable[[tarfile.TarInfo], None]:
    def change(member: tarfile.TarInfo) -> None:
        member.type = kind
        for name, value in more.items():
            setattr(member, name, value)

    return change


@pytest.mark.parametrize(
    "archive",
    [
        written(file_entry(b"workspace/../../escaped")),
        written(file_entry(b"/etc/escaped")),
        written(file_entry(b"workspace//a")),
        written(file_entry(b"workspace/./a")),
        written(file_entry(b"workspace/..")),
        written(file_entry(b"elsewhere/a")),
        written(file_entry(b"workspace")),
        written(file_entry(b"workspace/missing/a")),
        written(file_entry(b"workspace/" + b"a/" * 2500 + b"a")),
        written(file_entry(b"workspace/" + b"a" * 256)),
        written(link_entry(b"workspace/out", b"/tmp"), file_entry(b"workspace/out/escaped")),
        written(link_entry(b"workspace/out", b"/tmp"), directory_entry(b"workspace/out/escaped")),
        written(link_entry(b"workspace/out", b"/tmp/escaped"), file_entry(b"workspace/out")),
        written(file_entry(b"workspace/a"), file_entry(b"workspace/a/b")),
        written(file_entry(b"workspace/a"), file_entry(b"workspace/a")),
        written(link_entry(b"opencode.db", b"/etc/passwd")),
        written(directory_entry(b"opencode.db")),
        written(file_entry(b"opencode.db"), file_entry(b"opencode.db")),
        written(file_entry(b"opencode.db", b"no database at all" * 100)),
        foreign(typed(tarfile.LNKTYPE, linkname="workspace/b")),
        foreign(typed(tarfile.CHRTYPE, devmajor=1, devminor=3)),
        foreign(typed(tarfile.BLKTYPE)),
        foreign(typed(tarfile.FIFOTYPE)),
        foreign(typed(tarfile.GNUTYPE_SPARSE)),
        foreign(typed(tarfile.REGTYPE, mode=0o4755)),
        foreign(typed(tarfile.REGTYPE, mode=0o2755)),
        foreign(typed(tarfile.DIRTYPE, mode=0o1777)),
        zstd.compress(b"no tar" * 1000),
        b"no zstandard",
        b"",
        written(file_entry(b"workspace/a")) + b"more",
        written(file_entry(b"workspace/a")) + written(file_entry(b"workspace/b")),
    ],
)
def test_hostile_archive_is_refused(archive: bytes, tmp_path: Path) -> None:
    """One that leads out, in whatever way, or holds what is none of ours: nothing of it is left, or made outside."""
    with pytest.raises((ArchiveError, DatabaseError)):
        unpacked(archive, tmp_path)

    assert seen(tmp_path / "restored") == {}
    assert [path.name for path in tmp_path.iterdir()] == ["restored"]
    assert not Path("/tmp/escaped").exists()  # noqa: S108 - where the hostile ones aim


def test_bomb_is_refused(tmp_path: Path) -> None:
    """By what it says it holds, before that is unpacked, and by how many it holds."""
    few = Limits(content=10_000, entries=10)
    for bomb in (
        written(file_entry(b"workspace/a", bytes(20_000))),
        written(*(file_entry(b"workspace/%d" % n, b"") for n in range(11))),
    ):
        with pytest.raises(ArchiveError):
            unpacked(bomb, tmp_path, limits=few)
        assert seen(tmp_path / "restored") == {}


def test_frame_that_asks_for_much_memory_is_refused() -> None:
    """Zstandard's frames say how much whoever reads them has to keep; ours say 2 MB."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    compressor = zstd.ZstdCompressor(options=options)
    frame = compressor.compress(bytes(1 << 20)) + compressor.flush()
    with pytest.raises(ArchiveError):
        ArchiveReader(io.BytesIO(frame), limits=MANY).next()


def test_too_much_is_not_packed(tmp_path: Path) -> None:
    """Too many bytes, too many files, or too large an archive; it says which."""
    plant(os.fsencode(tmp_path / "workspace"), {b"a": ("file", os.urandom(300_000), 0o644), b"b": ("file", b"", 0o644)})
    for limits, size, reason in (
        (Limits(content=1000, entries=100), SIZE, "more than 1000 bytes"),
        (Limits(content=1 << 20, entries=2), SIZE, "more than 2 files"),
        (MANY, 1000, "more than 1000 bytes packed"),
    ):
        with pytest.raises(ArchiveError, match=reason):
            packed(tmp_path / "workspace", tmp_path / "none.db", limits=limits, size=size)


def test_caches_are_left_out_and_git_is_kept(tmp_path: Path) -> None:
    """By name, or by the tag that says so; a tag that is none changes nothing."""
    file = ("file", b"x", 0o644)
    tree: dict[bytes, object] = {
        b"node_modules": {b"a": file},
        b"inner": {b"node_modules": {b"a": file}, b"__pycache__": {b"a": file}, b"kept": file},
        b"target": {b"CACHEDIR.TAG": ("file", SIGNATURE + b"\n", 0o644), b"a": file},
        b"mine": {b"CACHEDIR.TAG": ("file", b"my own", 0o644)},
        b".git": {b"HEAD": file, b"objects": {}},
    }
    plant(os.fsencode(tmp_path / "workspace"), tree)
    os.mkfifo(tmp_path / "workspace" / "fifo")
    unpacked(packed(tmp_path / "workspace", tmp_path / "none.db"), tmp_path)

    kept = {b"inner", b"inner/kept", b"mine", b"mine/CACHEDIR.TAG", b".git", b".git/HEAD", b".git/objects"}
    assert kept == set(seen(tmp_path / "restored"))


def test_database_is_copied_while_it_is_written(tmp_path: Path) -> None:
    """What was committed is in the copy, in one file, though the database is open and its log was not merged."""
    (tmp_path / "workspace").mkdir()
    with closing(sqlite3.connect(tmp_path / "live.db", isolation_level=None)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE t (n)")
        live.execute("INSERT INTO t VALUES (1)")
        live.execute("BEGIN")
        live.execute("INSERT INTO t VALUES (2)")
        unpacked(packed(tmp_path / "workspace", tmp_path / "live.db"), tmp_path)
        live.execute("COMMIT")

    with closing(sqlite3.connect(tmp_path / "restored.db")) as restored:
        assert restored.execute("SELECT n FROM t").fetchall() == [(1,)]
    assert stat.S_IMODE((tmp_path / "restored.db").stat().st_mode) == 0o600
    assert not list(tmp_path.glob("restored.db-*"))


def test_what_is_no_database_is_not_packed(tmp_path: Path) -> None:
    """Better the version before than one without the conversation."""
    (tmp_path / "workspace").mkdir()
    (tmp_path / "live.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DatabaseError):
        packed(tmp_path / "workspace", tmp_path / "live.db")


def test_file_that_changes_while_it_is_packed_keeps_its_size() -> None:
    """One that shrinks is filled up, one that grows is cut off: the archive is whole all the same."""
    for content in (b"short", b"x" * 5000):
        out = io.BytesIO()
        archive = ArchiveWriter(out, limits=MANY, size=SIZE)
        archive.begin(file_entry(b"workspace/a", bytes(1000))[0])
        archive.content_of(io.BytesIO(content).read, 1000)
        archive.close()
        reader = ArchiveReader(io.BytesIO(out.getvalue()), limits=MANY)
        entry = reader.next()
        assert entry is not None
        assert content.ljust(1000, b"\0")[:1000] == reader.take(entry.size)
        reader.skip_padding(entry.size)
        assert reader.next() is None


def test_tar_reads_what_we_write(tmp_path: Path) -> None:
    """Operators need nothing of ours; long names included."""
    plant(
        os.fsencode(tmp_path / "workspace"),
        {b"d" * 200: {b"f" * 200: ("file", b"x", 0o640), b"l": ("link", b"t" * 200)}},
    )
    tar = zstd.decompress(packed(tmp_path / "workspace", tmp_path / "none.db"))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-x", "-C", tmp_path / "out"], input=tar, check=True)
    assert seen(tmp_path / "workspace") == seen(tmp_path / "out" / "workspace")


@pytest.mark.parametrize("program", ["pack", "unpack"])
def test_memory_is_bounded(tmp_path: Path, program: str) -> None:
    """However large a file is: both programs go through it in pieces."""
    large, archive = 256 << 20, tmp_path / "archive"
    (tmp_path / "workspace").mkdir()
    with (tmp_path / "workspace" / "large").open("wb") as file:
        file.truncate(large)
    limits = Limits(content=large, entries=10)
    with archive.open("w+b") as out:
        if program == "unpack":
            pack(tmp_path / "workspace", tmp_path / "none.db", out.fileno(), limits=limits, size=SIZE)
            (tmp_path / "workspace" / "large").unlink()
            out.seek(0)
        command = (
            *(sys.executable, "-m", f"sandboxd.memory.{program}", "--archive", str(out.fileno())),
            *("--workspace", tmp_path / "workspace", "--database", tmp_path / "none.db", "--size", str(SIZE)),
            *("--content", str(large), "--entries", "10"),
        )
        process = subprocess.Popen(command, pass_fds=(out.fileno(),), stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)

    assert process.returncode == 0
    assert used.ru_maxrss < 128 * 1024  # KB
