"""The table of template.yaml, in moto, and what stands on it."""

from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


@pytest.fixture
def aws():
    with mock_aws():
        yield


@pytest.fixture
def table(aws, template) -> "Table":
    properties = template["Resources"]["Table"]["Properties"]
    return boto3.resource("dynamodb").create_table(
        TableName="threads",
        **{name: properties[name] for name in ("BillingMode", "AttributeDefinitions", "KeySchema")},
    )
