"""The table of template.yaml, in moto, and what stands on it."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from chat.bodies import BodyStore
from chat.cuts import CutStore
from chat.messages import MessageStore
from chat.turns import TurnStore
from tests.fakes import FakeAudit, FaultyKms
from threadbox.telemetry import correlate, logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


@pytest.fixture(autouse=True)
def uncorrelated() -> None:
    """No test has the correlation id of the one before."""
    correlate(None)


class _Stdout:
    """Whatever sys.stdout is: capsys has another one for each phase of a test."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Returns what a function would have put out since it was asked last: its log and its metrics."""
    handler = logger.registered_handler
    # Not setStream, which flushes the one before: that was some other test's, and is closed.
    before, handler.stream = handler.stream, _Stdout()
    yield lambda: capsys.readouterr().out
    handler.stream = before


@pytest.fixture
def audit() -> FakeAudit:
    """What was recorded of who did what."""
    return FakeAudit()


@pytest.fixture
def aws():
    with mock_aws():
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
def table(aws, template) -> "Table":
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
