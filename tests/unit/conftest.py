"""The table of template.yaml, in memory or in moto, and what stands on it."""

from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from chat.bodies import BodyStore
from chat.cuts import CutStore
from chat.messages import MessageStore
from chat.turns import TurnStore
from tests.fakes import FaultyKms
from tests.unit.memory_table import MemoryTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


@pytest.fixture
def aws():
    # A session of its own for each test would have it read botocore's models anew.
    with mock_aws(config={"core": {"reset_boto3_session": False}}):
        yield


@pytest.fixture
def kms(aws) -> FaultyKms:
    """KMS, whose calls are counted and can be made to fail."""
    return FaultyKms(boto3.client("kms"))


@pytest.fixture
def key_id(aws) -> str:
    """The vault's key."""
    return boto3.client("kms").create_key()["KeyMetadata"]["Arn"]


@pytest.fixture
def table(request, template) -> "Table | MemoryTable":
    """The table: in memory, or moto's for tests of what is written into it, and for all of them with ``--moto``."""
    if request.node.get_closest_marker("moto") is None and not request.config.getoption("moto"):
        return MemoryTable()
    request.getfixturevalue("aws")
    properties = template["Resources"]["Table"]["Properties"]
    return boto3.resource("dynamodb").create_table(
        TableName="threads",
        **{name: properties[name] for name in ("BillingMode", "AttributeDefinitions", "KeySchema")},
    )


@pytest.fixture
def bodies(aws) -> BodyStore:
    """The bucket for what does not fit into the table."""
    client = boto3.client("s3")
    client.create_bucket(Bucket="bodies")
    return BodyStore(client=lambda: client, bucket="bodies")


@pytest.fixture
def cuts(table, bodies) -> CutStore:
    return CutStore(table=table, bodies=bodies)


@pytest.fixture
def messages(table, bodies, cuts, clock) -> MessageStore:
    return MessageStore(table=table, bodies=bodies, cuts=cuts, now=clock)


@pytest.fixture
def turns(table, clock) -> TurnStore:
    return TurnStore(table=table, now=clock)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens because time has passed: what is waited for is waited for, and text is not gathered."""
    monkeypatch.setattr("chat.writers.DRAIN", 3600)
    monkeypatch.setattr("chat.writers.POSTED_SOON", 3600)
    monkeypatch.setattr("chat.writers.SILENT_SECONDS", 3600)
    monkeypatch.setattr("chat.outbox.FLUSH_EVERY", 0)
