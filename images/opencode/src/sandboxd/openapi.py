"""Prints sandboxd's own part of its HTTP contract: ``python -m sandboxd.openapi > openapi.json``."""

import json
import sys
from typing import TYPE_CHECKING, cast

from sandboxd.app import create_app
from sandboxd.tokens import TokenVerifier

if TYPE_CHECKING:
    from sandboxd.sandbox import Sandbox


def document() -> str:
    """The OpenAPI document, as text with a line break at its end."""
    # The routes are described, not run: no sandbox is needed behind them.
    app = create_app(cast("Sandbox", None), TokenVerifier({}, audience=""), body_bytes=0)
    return json.dumps(app.openapi(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
