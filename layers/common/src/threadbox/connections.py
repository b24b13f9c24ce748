"""
What is said to open sockets, through API Gateway's ``@connections``.

Posts are what a turn does most, and many at once. boto3's client spends a millisecond of processor on each, seven times
what signing takes, and a turn's function has a third of one. So they are signed and sent by the parts it is made of.
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import quote

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ConnectionClosedError
from botocore.httpsession import URLLib3Session

from threadbox.errors import RateLimitedError
from threadbox.telemetry import logger

CONNECT_SECONDS = 2
READ_SECONDS = 5
AT_ONCE = 50
SERVICE = "execute-api"
"""The name that requests to ``@connections`` are signed for."""


def _session() -> URLLib3Session:
    # Both, as boto3's client gives them; the stubs know of one.
    timeout: Any = (CONNECT_SECONDS, READ_SECONDS)
    return URLLib3Session(timeout=timeout, max_pool_connections=AT_ONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsClient:
    """Posts to connections of the API at *url*, which ends with its stage, and closes them."""

    url: str
    credentials: Credentials
    region: str
    http: URLLib3Session = field(default_factory=_session)

    @classmethod
    def of(cls, url: str) -> Self:
        """
        Return a client with the credentials and region of whoever runs this.

        Raises:
            RuntimeError: there are none.
        """
        session = boto3.Session()
        credentials = session.get_credentials()
        if credentials is None or session.region_name is None:
            raise RuntimeError("no credentials, or no region, to sign requests to @connections with")
        return cls(url=url, credentials=credentials, region=session.region_name)

    def post(self, connection_id: str, frame: str) -> bool:
        """
        Post one frame; False when the connection is gone.

        Raises:
            RateLimitedError: the connection's buffer is full, or API Gateway throttles or cannot be reached.
        """
        try:
            status = self._send("POST", connection_id, frame.encode())
        except BotoCoreError as exc:
            raise RateLimitedError("The connection takes no frames just now.") from exc
        if status == HTTPStatus.GONE:
            return False
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise RateLimitedError("The connection takes no frames just now.", status=status)
        return True

    def close(self, connection_id: str) -> bool:
        """Close a connection; False when it was gone, or is not there yet. A failure is left to its limits."""
        try:
            status: int | None = self._send("DELETE", connection_id)
        except BotoCoreError:
            status = None
        if status == HTTPStatus.GONE:
            return False
        if status is None or status >= HTTPStatus.MULTIPLE_CHOICES:
            logger.warning("connection not closed", connection_id=connection_id, status=status)
        return True

    def _send(self, method: str, connection_id: str, body: bytes = b"") -> int:
        url = f"{self.url}/@connections/{quote(connection_id, safe='')}"
        request = AWSRequest(method, url, data=body)
        SigV4Auth(self.credentials.get_frozen_credentials(), SERVICE, self.region).add_auth(request)
        prepared = request.prepare()
        try:
            return self.http.send(prepared).status_code
        except ConnectionClosedError:
            # One that was kept open, and that the other side had given up by then.
            return self.http.send(prepared).status_code
