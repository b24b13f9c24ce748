"""Prints the functions' HTTP API: ``python -m local.contract.openapi > docs/openapi.json``."""

import json
import sys
from typing import Any

from fastapi import FastAPI

from chat.app import create_app as create_chat
from oauth_proxy.app import Admission
from oauth_proxy.app import create_app as create_oauth_proxy
from sandbox_ctl.app import create_app as create_sandbox_ctl
from threadbox import __version__
from threadbox.edge import create_http_app

# The routes are described, not run: nothing is needed behind them.
NOTHING: Any = None


def apps() -> list[FastAPI]:
    """Return the applications that the HTTP API consists of."""
    admission = Admission(sessions=NOTHING, threads=NOTHING)
    return [
        create_chat(NOTHING, NOTHING, NOTHING),
        create_sandbox_ctl(NOTHING, NOTHING, NOTHING, sessions=NOTHING, threads=NOTHING, audit=NOTHING),
        create_oauth_proxy(NOTHING, NOTHING, NOTHING, admission=admission, hop_seconds=0, web_app_url=""),
    ]


def document() -> str:
    """Return the OpenAPI document of all of them, as text with a line break at its end."""
    whole = create_http_app(title="Threadbox", version=__version__)
    for app in apps():
        whole.include_router(app.router)
    return json.dumps(whole.openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
