"""
Stands in for API Gateway's WebSocket APIs: ``python -m local.gateway --port PORT --aws URL``, until SIGTERM.

A socket opens at ``ws://127.0.0.1:PORT/_aws/execute-api/{api}/{stage}``; functions post to the same with ``http``.
"""

import argparse
import dataclasses
from urllib.parse import urlsplit

import httpx

from local.gateway.apis import Apis
from local.gateway.app import create_app
from local.gateway.functions import FunctionsClient
from local.gateway.lifeline import Lifeline
from local.gateway.limits import Limits
from local.gateway.rules import Rules
from local.gateway.server import server
from local.stack.aws_clients import client

# The embedded AWS closes idle connections after 5 s; one that it closes just when it is used again would fail.
POOL = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=2)

ENDLESS = httpx.Timeout(None)
"""An integration has a time of its own."""


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="local.gateway", description="the local WebSocket gateway")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--aws", required=True, help="address of the embedded AWS")
    defaults = Limits()
    for field in dataclasses.fields(Limits):
        value = getattr(defaults, field.name)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(value), default=value)
    options = parser.parse_args()
    limits = Limits(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Limits)})
    aws = urlsplit(options.aws)
    app = create_app(
        apis=Apis(client("apigatewayv2", options.aws)),
        functions=FunctionsClient(
            http=httpx.AsyncClient(base_url=options.aws, timeout=ENDLESS, limits=POOL, trust_env=False),
            seconds=limits.integration_seconds,
        ),
        rules=Rules(limits=limits),
        lifeline=Lifeline(host=str(aws.hostname), port=aws.port or 80),
    )
    server(app, limits, port=options.port).run()


if __name__ == "__main__":
    main()
