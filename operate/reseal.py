"""
``make reseal ENV=…``: seals every grant anew that is not under the vault's current key and schema (docs/runbook.md).

It may be stopped and started again at any time: what was sealed anew is not sealed again.
"""

import argparse
import json
import sys
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from operate.stacks import DeployedStack, NoStackError
from threadbox.control import Reply, Resealed
from threadbox.errors import AppError

INVOKE_SECONDS = 60


def main() -> int:
    """Seal anew, page by page; 0 when everything is under the current key."""
    parser = argparse.ArgumentParser(prog="operate.reseal", description=__doc__)
    parser.add_argument("--env", required=True, help="an environment of samconfig.toml, or: local")
    try:
        stack = DeployedStack.of(parser.parse_args().env)
        unreadable = reseal(stack)
    except (NoStackError, AppError, BotoCoreError, ClientError) as error:
        print(f"make reseal failed: {error}", file=sys.stderr)
        return 1
    if unreadable:
        print(f"{unreadable} cannot be opened and stay as they are (docs/runbook.md).", file=sys.stderr)
    return 1 if unreadable else 0


def reseal(stack: DeployedStack) -> int:
    """Return how many could not be opened."""
    functions = stack.client("lambda", read_seconds=INVOKE_SECONDS)
    sealed, current, unreadable = 0, 0, 0
    after: str | None = None
    while True:
        page = _page(functions, f"{stack.name}-sandbox-ctl", after)
        sealed, current, unreadable = sealed + page.sealed, current + page.current, unreadable + page.unreadable
        print(f"sealed anew {sealed}, current already {current}, unreadable {unreadable}", flush=True)
        if page.after is None:
            return unreadable
        after = page.after


def _page(functions: Any, name: str, after: str | None) -> Resealed:
    answer = functions.invoke(FunctionName=name, Payload=json.dumps({"operation": "reseal", "after": after}))
    payload = answer["Payload"].read()
    if answer.get("FunctionError"):
        raise AppError("sandbox_ctl failed; its log says why.")
    resealed = Reply.model_validate_json(payload).raised().resealed
    if resealed is None:
        raise AppError("sandbox_ctl gave another answer than was asked for.")
    return resealed


if __name__ == "__main__":
    sys.exit(main())
