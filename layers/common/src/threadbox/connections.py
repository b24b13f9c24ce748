"""What is said to open sockets, through API Gateway's ``@connections``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from threadbox.errors import RateLimitedError
from threadbox.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

# A frame that takes longer is tried again by whoever posts it, or given up.
CONFIG = Config(max_pool_connections=50, connect_timeout=2, read_timeout=5, retries={"max_attempts": 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsClient:
    """Posts to connections of one API, and closes them."""

    client: "ApiGatewayManagementApiClient"

    @classmethod
    def of(cls, url: str) -> Self:
        """Return a client for the API at *url*, which ends with its stage."""
        return cls(client=boto3.client("apigatewaymanagementapi", endpoint_url=url, config=CONFIG))

    def post(self, connection_id: str, frame: str) -> bool:
        """
        Post one frame; False when the connection is gone.

        Raises:
            RateLimitedError: the connection's buffer is full, or API Gateway throttles or cannot be reached.
        """
        try:
            self.client.post_to_connection(ConnectionId=connection_id, Data=frame.encode())
        except self.client.exceptions.GoneException:
            return False
        except (ClientError, BotoCoreError) as exc:
            raise RateLimitedError("The connection takes no frames just now.") from exc
        return True

    def close(self, connection_id: str) -> bool:
        """Close a connection; False when it was gone, or is not there yet. A failure is left to its limits."""
        try:
            self.client.delete_connection(ConnectionId=connection_id)
        except self.client.exceptions.GoneException:
            return False
        except (ClientError, BotoCoreError):
            logger.warning("connection not closed", connection_id=connection_id)
        return True
