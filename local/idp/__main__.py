"""
``python -m local.idp --ca-dir DIR``: the provider and its proxy, on loopback, until SIGTERM.

Prints one line when both answer: ``{"idp_url", "proxy_url", "ca_file"}``. A program that has
``HTTPS_PROXY=<proxy_url>`` and ``NODE_EXTRA_CA_CERTS=<ca_file>`` takes it for the real provider.
"""

import argparse
import asyncio
import json
import logging
import socket
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import uvicorn

from local.idp.app import HOSTS, create_app
from local.idp.authority import Authority
from local.idp.connections import BreakableConnection
from local.idp.proxy import Address, ConnectProxy

LOOPBACK = "127.0.0.1"


async def serve(options: argparse.Namespace) -> None:
    """Serve until told to stop."""
    authority = Authority.of(options.ca_dir)
    app = create_app(
        directory=options.ca_dir,
        # One for as long as the authority is the same: as long as the stack is.
        account_id=options.account or str(uuid5(NAMESPACE_URL, authority.certificate.read_text())),
        interval=options.interval,
        access_seconds=options.access_seconds,
        delay=options.delay_ms / 1000,
    )
    config = uvicorn.Config(app, log_level="warning", http=BreakableConnection, timeout_graceful_shutdown=1)
    with socket.create_server((LOOPBACK, options.port)) as listener:
        provider = Address(LOOPBACK, listener.getsockname()[1])
        ours = [Address(host, 443) for host in HOSTS]
        context = authority.server_context(*HOSTS)
        async with ConnectProxy(port=options.proxy_port, ours=ours, context=context, provider=provider) as proxy:
            ready = {
                "idp_url": f"http://{provider.host}:{provider.port}",
                "proxy_url": proxy.url,
                "ca_file": str(authority.certificate),
            }
            print(json.dumps(ready), flush=True)
            await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="local.idp", description="the local identity provider")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--proxy-port", type=int, default=0, help="0: any free one")
    parser.add_argument(
        "--ca-dir", type=Path, required=True, help="keeps the certificate authority, and what was granted"
    )
    parser.add_argument("--interval", type=int, default=5, help="seconds between two polls, as programs are told")
    parser.add_argument("--access-seconds", type=int, default=3600, help="how long an access token is good for")
    parser.add_argument("--account", help="the account that approves unless another is named")
    parser.add_argument("--delay-ms", type=int, default=15, help="milliseconds between two words of a model")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
