"""The table of template.yaml, in moto, and what stands on it."""

from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from tests.fakes import FaultyKms

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


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
