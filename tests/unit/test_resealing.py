"""Sealing grants anew after an emergency, on real stores and real sealing."""

import boto3
import pytest

from tests.controlling import Controlling
from threadbox.vault import CURRENT_SCHEMA, Sealer

pytestmark = pytest.mark.moto


@pytest.fixture
def controlling(table, clock, kms, key_id):
    return Controlling(table, clock, kms=kms, key_id=key_id)


@pytest.fixture
def moved(table, clock, kms, controlling):
    """The same control plane with another key, as after a deployment with VaultKeyArn."""
    for n in range(12):
        controlling.connects(f"t{n}")
    controlling.sealer = Sealer(kms=kms, key_id=controlling.key_id, schema_version=1)
    controlling.connects("older-schema")
    other = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    return Controlling(table, clock, kms=kms, key_id=other, page=5)


def pages(controlling):
    """Seal anew as the command does, and return what each page says."""
    after, told = None, []
    while True:
        page = controlling.perform("reseal", after=after).resealed
        told.append(page)
        if (after := page.after) is None:
            return told


def test_every_grant_comes_under_the_current_key_and_schema(moved):
    """Page by page; the tokens are the same, and a second run finds nothing to do."""
    assert 13 == sum(page.sealed for page in pages(moved))
    for thread in ("t0", "t11", "older-schema"):
        sealed = moved.grant(thread).sealed
        assert (moved.key_id, CURRENT_SCHEMA) == (sealed["key_id"], sealed["schema_version"])
        assert "at_first" == moved.tokens(thread)[0]
    again = pages(moved)
    assert (0, 13) == (sum(page.sealed for page in again), sum(page.current for page in again))


def test_run_that_was_stopped_goes_on(moved, kms):
    """What was sealed anew before is not sealed again."""
    done = moved.perform("reseal", after=None).resealed.sealed
    kms.calls.clear()
    assert 13 - done == sum(page.sealed for page in pages(moved))
    assert 13 - done == kms.calls.count("GenerateDataKey")


def test_row_that_does_not_open_stays_and_is_counted(moved, table):
    """The others are sealed anew all the same."""
    key = {"thread_id": "t3", "sk": "GRANT#openai"}
    table.update_item(Key=key, UpdateExpression="SET account_id = :other", ExpressionAttributeValues={":other": "x"})
    before = table.get_item(Key=key)["Item"]
    told = pages(moved)
    assert (12, 1) == (sum(page.sealed for page in told), sum(page.unreadable for page in told))
    assert before == table.get_item(Key=key)["Item"]


def test_tokens_refreshed_meanwhile_stay(moved, kms):
    """Their row was sealed under the current key by whoever refreshed them."""

    def refreshed():
        kms.meanwhile = lambda: None
        for n in range(12):
            moved.connects(f"t{n}", refresh_token="rt_newer")

    kms.meanwhile = refreshed
    pages(moved)
    assert {"rt_newer"} == {moved.tokens(f"t{n}")[1] for n in range(12)}
