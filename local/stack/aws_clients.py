"""boto3 clients for the embedded AWS, which take nothing from the developer's AWS configuration."""

import os
from typing import Any

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

REGION = "us-east-1"
DUMMY = "test"
CONFIG = Config(connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 2}, max_pool_connections=50)

NOTHING_FROM_OUTSIDE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""Session variables as botocore takes them: name in a configuration file, name in the environment, default, type."""


def client(service: str, url: str) -> Any:
    """A client of that service at that address."""
    return _session().client(
        service,  # type: ignore[call-overload]
        endpoint_url=url, region_name=REGION, aws_access_key_id=DUMMY, aws_secret_access_key=DUMMY, config=CONFIG,
    )  # fmt: skip


def table(name: str, url: str) -> Any:
    """A DynamoDB table, as the stores take it."""
    tables = _session().resource(
        "dynamodb",
        endpoint_url=url, region_name=REGION, aws_access_key_id=DUMMY, aws_secret_access_key=DUMMY, config=CONFIG,
    )  # fmt: skip
    return tables.Table(name)


def signed(method: str, url: str, service: str, body: str = "") -> dict[str, str]:
    """The headers of a request that is sent without boto3, JSON if it has a body."""
    request = AWSRequest(method, url, {"Content-Type": "application/json"} if body else {}, body)
    SigV4Auth(Credentials(DUMMY, DUMMY), service, REGION).add_auth(request)
    return dict(request.headers.items())


def _session() -> boto3.Session:
    # A profile that the developer's shell names need not exist here.
    return boto3.Session(botocore_session=botocore.session.Session(NOTHING_FROM_OUTSIDE))
