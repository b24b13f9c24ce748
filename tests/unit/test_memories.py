"""What is kept of a thread's sandboxes: versions in a real S3 client's bucket on moto, and a scripted sandboxd."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox_ctl.memories import KEPT, LARGEST, RENEW_AFTER, S3_CONFIG, URL_LIFE, MemoryService
from sandbox_ctl.sandboxes import State
from tests.controlling import Controlling
from threadbox.control import Access
from threadbox.errors import OpenCodeError
from threadbox.identifiers import thread_hash

BUCKET = "sandboxes"


@pytest.fixture
def client(aws):
    client = boto3.client("s3", config=S3_CONFIG)
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def controlling(table, clock, client):
    controlling = Controlling(table, clock)
    memories = MemoryService(
        client=lambda: client, bucket=BUCKET, store=controlling.store, daemon=controlling.daemon, now=clock
    )
    return Controlling(table, clock, daemon=controlling.daemon, memories=memories)


@pytest.fixture
def memories(controlling):
    return controlling.memories


def prefix(thread, generation):
    return f"snapshots/{thread_hash(thread)}/{generation:016d}/"


def save(client, *versions, thread="t", parts=("archive.tar.zst", "manifest.json")):
    for generation, sequence in versions:
        for part in parts:
            client.put_object(Bucket=BUCKET, Key=f"{prefix(thread, generation)}{sequence:010d}/{part}", Body=b"x")


def kept(client, thread="t"):
    """The versions there is anything of, the oldest first."""
    entries = client.list_objects_v2(Bucket=BUCKET, Prefix=f"snapshots/{thread_hash(thread)}/").get("Contents", [])
    return sorted({tuple(int(part) for part in entry["Key"].split("/")[2:4]) for entry in entries})


def running(controlling, generation=1):
    """The thread's sandbox, of that generation."""
    while controlling.runs() < generation:
        controlling.ends()
    return controlling.service.get("t")


def test_sandbox_is_bound_to_where_it_saves_and_what_was_saved(controlling, client):
    """The newest first, each with its URLs; nothing of its own generation or a later one, and nothing half."""
    save(client, (1, 1), (1, 2), (2, 1), (3, 9), (4, 1))
    save(client, (2, 2), parts=["archive.tar.zst"])
    save(client, (2, 3), parts=["manifest.json"])
    save(client, (2, 7), thread="another")
    running(controlling, generation=3)
    memory = controlling.daemon.memory

    assert [(2, 1), (1, 2), (1, 1)] == [(version.generation, version.sequence) for version in memory.kept]
    assert prefix("t", 3) == memory.upload.prefix
    archive = urlsplit(memory.kept[0].archive_url.get_secret_value())
    assert archive.path.endswith(f"{prefix('t', 2)}{1:010d}/archive.tar.zst")
    assert [str(URL_LIFE)] == parse_qs(archive.query)["X-Amz-Expires"]


def test_form_is_good_for_one_generation_and_one_gigabyte(controlling):
    """S3 itself refuses what is larger or lies elsewhere; nothing of it is in a log."""
    running(controlling)
    upload = controlling.daemon.memory.upload
    policy = json.loads(base64.b64decode(upload.fields["policy"].get_secret_value()))

    assert ["starts-with", "$key", prefix("t", 1)] in policy["conditions"]
    assert ["content-length-range", 1, LARGEST] in policy["conditions"]
    assert "key" not in upload.fields
    assert upload.fields["policy"].get_secret_value() not in repr(upload)


def test_what_is_signed_leads_to_the_buckets_region(controlling, clock):
    """The global address would redirect, and what is posted is not posted again."""
    sandbox = running(controlling)
    client = boto3.client("s3", region_name="eu-central-1", config=S3_CONFIG)
    elsewhere = MemoryService(
        client=lambda: client, bucket="my-bucket", store=controlling.store, daemon=controlling.daemon, now=clock
    )
    upload = elsewhere._upload(sandbox)
    assert "https://my-bucket.s3.eu-central-1.amazonaws.com/" == upload.url.get_secret_value()
    readable = elsewhere._readable("key").get_secret_value()
    assert readable.startswith("https://my-bucket.s3.eu-central-1.amazonaws.com/key?")


def test_form_is_renewed_when_a_quarter_of_an_hour_is_over(controlling, clock, client):
    """By a contact, before the URL's life is over; most contacts make no call."""
    sandbox = running(controlling)
    service, daemon = controlling.service, controlling.daemon
    assert sandbox.memory_at == clock.time
    assert isinstance(service.ensure("t", scope="turn"), Access)
    assert [] == daemon.uploads
    clock.time += RENEW_AFTER
    save(client, *((1, sequence) for sequence in range(1, 9)))
    for _ in range(2):
        service.ensure("t", scope="turn")

    assert [prefix("t", 1)] == [upload.prefix for upload in daemon.uploads]
    assert clock.time == service.get("t").memory_at
    assert [(1, sequence) for sequence in range(4, 9)] == kept(client)


def test_sandbox_that_does_not_take_it_is_asked_again(controlling, memories, clock):
    """A turn does not fail by it."""
    sandbox = running(controlling)
    clock.time += RENEW_AFTER
    controlling.daemon.silent = True
    memories.renew(sandbox)
    controlling.daemon.silent = False
    memories.renew(controlling.service.get("t"))
    assert 1 == len(controlling.daemon.uploads)


VERSIONS = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(1, 12)), st.sampled_from(("both", "archive", "manifest")), max_size=20
)
PARTS = {
    "both": ("archive.tar.zst", "manifest.json"),
    "archive": ("archive.tar.zst",),
    "manifest": ("manifest.json",),
}


@given(versions=VERSIONS, generation=st.integers(1, 4))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_five_newest_are_kept(memories, client, controlling, versions, generation):
    """Of this generation and those before; what this one is about to save is left, and what came after it."""
    memories.forget("t", None)
    for version, parts in versions.items():
        save(client, version, parts=PARTS[parts])
    sandbox = controlling.store.find("t") or running(controlling)
    memories.prune(sandbox.model_copy(update={"generation": generation}))

    whole = sorted((v for v, parts in versions.items() if parts == "both" and v[0] <= generation), reverse=True)
    begun = {v for v, parts in versions.items() if parts != "both" and v[0] == generation}
    later = {v for v in versions if v[0] > generation}
    assert {*whole[:KEPT]} | begun | later == set(kept(client))


def test_deleting_a_thread_ends_saving_first(controlling, client):
    """The sandbox that runs saves nothing more; then all versions go, and only this thread's."""
    running(controlling)
    save(client, (1, 1), (7, 1))
    save(client, (1, 1), thread="another")
    reply = controlling.perform("forget", thread_id="t")

    assert (2, True, []) == (reply.forgotten.removed, controlling.daemon.discarded, kept(client))
    assert [(1, 1)] == kept(client, "another")
    assert 0 == controlling.perform("forget", thread_id="t").forgotten.removed
    assert 0 == controlling.perform("forget", thread_id="never").forgotten.removed


def test_nothing_is_deleted_while_a_sandbox_would_go_on_saving(controlling, client):
    """Unless it is over, unnoticed until now."""
    sandbox = running(controlling)
    save(client, (1, 1))
    controlling.daemon.silent = True
    with pytest.raises(OpenCodeError):
        controlling.service.forget("t")
    assert [(1, 1)] == kept(client)
    controlling.launcher.ends(sandbox.task_arn)
    assert 1 == controlling.service.forget("t")
    assert [] == kept(client)


def test_start_shows_that_it_restores(controlling, client):
    """As long as the sandbox does; one that takes too long is stopped."""
    save(client, (1, 1))
    running(controlling)
    controlling.ends()
    controlling.daemon.restoring = True
    service = controlling.service
    service.ensure("t", scope="turn")
    controlling.launcher.runs(service.get("t").task_arn)
    assert ("restoring", 2) == (service.ensure("t", scope="turn").detail, service.get("t").generation)
    controlling.now.time += 100
    assert "restoring" == service.ensure("t", scope="turn").detail
    controlling.daemon.restoring = False
    assert isinstance(service.ensure("t", scope="turn"), Access)


def test_sandbox_that_restores_for_ever_is_stopped(controlling, client):
    """And another one is tried, as for each phase."""
    save(client, (1, 1))
    running(controlling)
    controlling.ends()
    controlling.daemon.restoring = True
    service = controlling.service
    service.ensure("t", scope="turn")
    arn = service.get("t").task_arn
    controlling.launcher.runs(arn)
    service.ensure("t", scope="turn")
    controlling.now.time += 181
    service.ensure("t", scope="turn")
    assert [arn] == controlling.launcher.stopped


def test_sandbox_is_not_bound_while_s3_does_not_answer(controlling, client, memories):
    """It would take what is kept for lost."""
    service = controlling.service
    service.ensure("t", scope="turn")
    client.delete_bucket(Bucket=BUCKET)
    controlling.launcher.runs(service.get("t").task_arn)
    assert "claiming" == service.ensure("t", scope="turn").detail
    assert [] == controlling.daemon.bound
    client.create_bucket(Bucket=BUCKET)
    service.ensure("t", scope="turn")
    assert State.RUNNING == service.get("t").state
