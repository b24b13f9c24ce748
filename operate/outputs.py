"""``make outputs ENV=…``: what a deployed stack tells, and what a web app takes of it; ``make deploy`` ends with it."""

import argparse
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from operate.stacks import DeployedStack, NoStackError


def main() -> int:
    """Print them; 0 when the stack is there."""
    parser = argparse.ArgumentParser(prog="operate.outputs", description=__doc__)
    parser.add_argument("--env", required=True, help="an environment of samconfig.toml, or: local")
    try:
        outputs = DeployedStack.of(parser.parse_args().env).outputs()
    except (NoStackError, BotoCoreError, ClientError) as error:
        print(f"make outputs failed: {error}", file=sys.stderr)
        return 1
    print(told(outputs))
    return 0


def told(outputs: Mapping[str, str]) -> str:
    """Return the outputs as a list, and below it the three lines that a page needs (docs/connect.md)."""
    width = max(map(len, outputs))
    socket = urlsplit(outputs["WebSocketUrl"])
    return "\n".join(
        [
            *(f"  {name:<{width}}  {value}" for name, value in sorted(outputs.items())),
            "",
            "A web app's page takes these three lines (docs/connect.md):",
            f'  http: "{outputs["HttpUrl"]}",',
            f'  host: "{socket.netloc}",',
            f'  basePath: "{socket.path.strip("/")}",',
            f"and its backend signs session tokens with the secret {outputs['SessionSecretArn']}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
