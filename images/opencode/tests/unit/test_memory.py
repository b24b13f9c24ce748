"""When a sandbox's memory is saved, and which version comes back: real programs pack, an S3 of the tests' own keeps."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from storage import Bucket, running_bucket

from sandboxd.agent_home import AgentHome
from sandboxd.memory.archive import Limits
from sandboxd.memory.contract import Restored
from sandboxd.memory.manifest import ARCHIVE, MANIFEST, Manifest, thread_hash
from sandboxd.memory.packing import Packing
from sandboxd.memory.restorer import Restorer
from sandboxd.memory.saver import Saver
from sandboxd.memory.storage import StorageClient, StorageError
from sandboxd.tasks import Tasks

pytestmark = pytest.mark.anyio

THREAD = "thread-1"
IDLE = b'{"id":"evt_1","type":"session.idle","properties":{}}'


@pytest.fixture(scope="module")
def s3() -> Iterator[Bucket]:
    with running_bucket() as bucket:
        yield bucket


@pytest.fixture
def bucket(s3: Bucket) -> Bucket:
    s3.objects.clear()
    s3.failures.clear()
    s3.through.set()
    return s3


class Sandboxed:
    """A sandbox, as far as its memory goes."""

    def __init__(self, directory: Path, http: httpx.AsyncClient, *, generation: int = 1, **settings: Any) -> None:
        self.home = AgentHome(workspace=directory / "workspace", home=directory / "home", uid=0, gid=0)
        self.home.workspace.mkdir(parents=True)
        limits = Limits(content=settings.pop("content", 1 << 24), entries=1000)
        packing = Packing(home=self.home, limits=limits, size=settings.pop("size", 1 << 24))
        storage = StorageClient(http, pause=0.01)
        self.generation = generation
        self.failed: list[None] = []
        self.tasks = Tasks(failed=lambda: self.failed.append(None))
        self.restorer = Restorer(packing=packing, storage=storage, thread=thread_hash(THREAD))
        self.saver = Saver(
            packing=packing,
            storage=storage,
            tasks=self.tasks,
            describe=self.describe,
            **{"every_seconds": 0.05, "settle_seconds": 0, "share": 0, "finish_seconds": 10, **settings},
        )

    def describe(self, **saved: Any) -> Manifest:
        return Manifest(
            thread=thread_hash(THREAD),
            generation=self.generation,
            opencode_version="1.18.33",
            session_id="ses_1",
            saved_at=1,
            **saved,
        )

    def say(self, text: str) -> None:
        """Write to the database, as a turn does."""
        self.home.database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.home.database)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS said (text)")
            database.execute("INSERT INTO said VALUES (?)", (text,))

    def said(self) -> list[str]:
        if not self.home.database.exists():
            return []
        with closing(sqlite3.connect(self.home.database)) as database:
            return [text for (text,) in database.execute("SELECT text FROM said")]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.get_running_loop().run_in_executor(None, self.home.workspace.stat)


Make = Callable[..., Sandboxed]


@pytest.fixture
async def make(tmp_path: Path) -> Any:
    made: list[Sandboxed] = []
    async with httpx.AsyncClient(trust_env=False) as http:

        def one(**settings: Any) -> Sandboxed:
            made.append(Sandboxed(tmp_path / f"sandbox-{len(made)}", http, **settings))
            return made[-1]

        yield one
        for sandboxed in made:
            await sandboxed.tasks.close()
    assert not [sandboxed for sandboxed in made if sandboxed.failed]


async def saved(sandboxed: Sandboxed, bucket: Bucket, *texts: str) -> None:
    """Have it save once after each of *texts* was said."""
    sandboxed.saver.allow(bucket.form(THREAD, sandboxed.generation))
    sandboxed.saver.begin()
    for text in texts:
        sandboxed.say(text)
        (sandboxed.home.workspace / "notes").write_text(text)
        sandboxed.saver.see(IDLE)
        assert sandboxed.saver.unsaved
        await sandboxed.until(lambda: not sandboxed.saver.unsaved)


async def test_turn_is_saved_and_comes_back_in_the_next_sandbox(make: Make, bucket: Bucket) -> None:
    """Files and conversation; the manifest says whose, which, and how much."""
    first = make()
    await saved(first, bucket, "one", "two")
    names = [name.split("/", 2)[2] for name in sorted(bucket.objects)]
    second = make(generation=2)
    restored, manifest = await second.restorer.restore(bucket.versions(THREAD))

    number = f"{1:016d}/"
    assert [f"{number}{n:010d}/{name}" for n in (1, 2) for name in (ARCHIVE, MANIFEST)] == names
    assert (
        restored,
        *((manifest.session_id, manifest.generation, manifest.sequence) if manifest else ()),
    ) == (Restored.RESTORED, "ses_1", 1, 2)
    assert (second.said(), (second.home.workspace / "notes").read_text()) == (["one", "two"], "two")


async def test_turn_that_changed_nothing_costs_nothing(make: Make, bucket: Bucket) -> None:
    """Nothing is packed for an end of a turn that left the database as it was, nor at the end of such a sandbox."""
    sandboxed = make()
    sandboxed.say("before")
    sandboxed.saver.allow(bucket.form(THREAD, 1))
    sandboxed.saver.begin()
    sandboxed.saver.see(IDLE)
    assert not sandboxed.saver.unsaved
    await sandboxed.saver.finish()

    assert bucket.objects == {}


async def test_changes_come_together(make: Make, bucket: Bucket) -> None:
    """However many turns end while one save is under way or not yet due, one more follows them all."""
    sandboxed = make()
    sandboxed.saver.allow(bucket.form(THREAD, 1))
    sandboxed.saver.begin()
    bucket.through.clear()
    sandboxed.say("one")
    sandboxed.saver.see(IDLE)
    await sandboxed.until(lambda: bool(sandboxed.saver._packing.running))
    for text in ("two", "three", "four"):
        sandboxed.say(text)
        sandboxed.saver.see(IDLE)
        assert sandboxed.saver.unsaved
    bucket.through.set()
    await sandboxed.until(lambda: not sandboxed.saver.unsaved)

    assert len(bucket.kept(THREAD)) == 2


async def test_change_outside_of_a_turn_is_saved_too(make: Make, bucket: Bucket) -> None:
    """Whoever makes one says so."""
    sandboxed = make()
    sandboxed.saver.allow(bucket.form(THREAD, 1))
    sandboxed.saver.begin()
    sandboxed.saver.note_change()
    await sandboxed.until(lambda: not sandboxed.saver.unsaved)

    assert len(bucket.kept(THREAD)) == 1


async def test_end_saves_once_more(make: Make, bucket: Bucket) -> None:
    """What processes of the agent's wrote after the last turn is kept."""
    sandboxed = make(every_seconds=5)
    await saved(sandboxed, bucket, "one")
    (sandboxed.home.workspace / "late").write_text("late")
    await sandboxed.tasks.close()
    await sandboxed.saver.finish()
    await sandboxed.saver.finish()
    assert len(bucket.kept(THREAD)) == 2
    after = make(generation=2)
    await after.restorer.restore(bucket.versions(THREAD))

    assert (after.home.workspace / "late").read_text() == "late"


async def test_end_waits_for_a_save_no_longer_than_it_may(make: Make, bucket: Bucket) -> None:
    """An S3 that does not answer does not keep a sandbox; the status says what became of it."""
    sandboxed = make(every_seconds=60, settle_seconds=60, finish_seconds=0.5)
    sandboxed.saver.allow(bucket.form(THREAD, 1))
    sandboxed.saver.begin()
    sandboxed.saver.note_change()
    bucket.through.clear()
    await sandboxed.saver.finish()

    status = sandboxed.saver.status()
    assert (status.unsaved, status.problem) == (True, "there was no time to save")
    assert bucket.kept(THREAD) == []


async def test_form_that_is_over_is_told_and_another_one_helps(make: Make, bucket: Bucket) -> None:
    """What could not be saved stays to be saved; S3's failures for a moment are not even noticed."""
    sandboxed = make()
    sandboxed.saver.allow(bucket.form(THREAD, 1, signature="over"))
    sandboxed.saver.begin()
    sandboxed.saver.note_change()
    await sandboxed.until(lambda: sandboxed.saver.status().problem is not None)
    assert (sandboxed.saver.unsaved, sandboxed.saver.status().problem) == (True, "S3 refuses: 403")
    bucket.failures[:] = [503, 500]
    sandboxed.saver.allow(bucket.form(THREAD, 1))
    await sandboxed.until(lambda: not sandboxed.saver.unsaved)

    assert (len(bucket.kept(THREAD)), sandboxed.saver.status().problem) == (1, None)


async def test_too_much_is_not_saved_and_told(make: Make, bucket: Bucket) -> None:
    """It does not count as unsaved, for which a sandbox would stay; with less of it the next turn is saved."""
    sandboxed = make(content=10_000)
    sandboxed.saver.allow(bucket.form(THREAD, 1))
    sandboxed.saver.begin()
    large = sandboxed.home.workspace / "large"
    large.write_bytes(bytes(20_000))
    sandboxed.saver.note_change()
    await sandboxed.until(lambda: not sandboxed.saver.unsaved)
    assert (sandboxed.saver.status().problem, bucket.objects) == ("more than 10000 bytes", {})
    large.unlink()
    sandboxed.saver.note_change()
    await sandboxed.until(lambda: not sandboxed.saver.unsaved)

    assert (len(bucket.kept(THREAD)), sandboxed.saver.status().problem) == (1, None)


async def test_nothing_is_saved_of_a_thread_that_is_deleted(make: Make, bucket: Bucket) -> None:
    """Not by the save that is under way, not by the end."""
    sandboxed = make()
    await saved(sandboxed, bucket, "one")
    bucket.through.clear()
    sandboxed.say("two")
    sandboxed.saver.see(IDLE)
    await sandboxed.until(lambda: bool(sandboxed.saver.unsaved and sandboxed.saver._packing.running))
    await sandboxed.saver.discard()
    bucket.objects.clear()
    bucket.through.set()
    await sandboxed.saver.finish()
    sandboxed.saver.allow(bucket.form(THREAD, 1))

    assert (sandboxed.saver.unsaved, bucket.kept(THREAD)) == (False, [])


SAVED: dict[str, bytes] = {}
"""Two versions, made by the first of the tests that spoil them."""


def spoil_archive(objects: dict[str, bytes], name: str) -> None:
    objects[name.replace(MANIFEST, ARCHIVE)] += b"more"


def spoil_bytes(objects: dict[str, bytes], name: str) -> None:
    """An archive that is broken and whose manifest fits it."""
    archive = name.replace(MANIFEST, ARCHIVE)
    objects[archive] = broken = objects[archive][:-20]
    manifest = json.loads(objects[name])
    objects[name] = json.dumps(manifest | {"sha256": hashlib.sha256(broken).hexdigest(), "size": len(broken)}).encode()


def drop_archive(objects: dict[str, bytes], name: str) -> None:
    del objects[name.replace(MANIFEST, ARCHIVE)]


def changed(**changes: object) -> Callable[[dict[str, bytes], str], None]:
    def change(objects: dict[str, bytes], name: str) -> None:
        objects[name] = json.dumps(json.loads(objects[name]) | changes).encode()

    return change


def no_manifest(objects: dict[str, bytes], name: str) -> None:
    objects[name] = b"{"


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_archive,
        spoil_bytes,
        drop_archive,
        no_manifest,
        changed(thread=thread_hash("another")),
        changed(generation=7),
        changed(sequence=7),
        changed(format=2),
        changed(size=1 << 40),
        changed(entries=1 << 40),
        changed(content=1 << 40),
        changed(session_id="../../x"),
    ],
)
async def test_version_that_cannot_be_used_gives_way_to_the_one_before(
    make: Make, bucket: Bucket, spoil: Callable[[dict[str, bytes], str], None]
) -> None:
    """Broken, incomplete, too large, or another thread's; with none left the sandbox is empty, and says so."""
    if SAVED:
        bucket.objects.update(SAVED)
    else:
        await saved(make(), bucket, "one", "two")
        SAVED.update(bucket.objects)
    older, newer = bucket.until_stored(MANIFEST, count=2)
    spoil(bucket.objects, newer)
    second, third = make(generation=2), make(generation=2)
    versions = bucket.versions(THREAD)
    assert (await second.restorer.restore(versions))[0] == Restored.RESTORED
    assert (second.said(), (second.home.workspace / "notes").read_text()) == (["one"], "one")

    spoil(bucket.objects, older)
    assert await third.restorer.restore(versions) == (Restored.LOST, None)
    assert (third.said(), list(third.home.workspace.iterdir())) == ([], [])


async def test_s3_that_does_not_answer_is_not_taken_for_loss(make: Make, bucket: Bucket) -> None:
    """The start fails, and is tried again: an empty sandbox would save itself as the newest."""
    await saved(make(), bucket, "one")
    second = make(generation=2)
    for statuses in ([503] * 3, [403]):
        bucket.failures[:] = statuses
        with pytest.raises(StorageError):
            await second.restorer.restore(bucket.versions(THREAD))

    assert (await second.restorer.restore(bucket.versions(THREAD)))[0] == Restored.RESTORED


async def test_nothing_is_restored_over_what_lies_there(make: Make, bucket: Bucket) -> None:
    """And a thread without versions has nothing to lose."""
    await saved(make(), bucket, "one")
    second = make(generation=2)
    assert await second.restorer.restore([]) == (Restored.NOTHING, None)
    (second.home.workspace / "mine").write_text("mine")
    assert await second.restorer.restore(bucket.versions(THREAD)) == (Restored.NOTHING, None)

    assert [path.name for path in second.home.workspace.iterdir()] == ["mine"]
