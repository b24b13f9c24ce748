"""Prints the table of errors: ``python -m local.contract.errors > docs/errors.md``."""

import sys
from collections.abc import Iterator

from threadbox import errors
from threadbox.errors import AppError
from threadbox.statuses import http_status

HEAD = """# Errors

Made by `make openapi` from the error tree (`threadbox/errors.py`) and its mapping (`threadbox/statuses.py`).

Over HTTP every failure has the body
`{"ok": false, "code", "message", "thread_id", "request_id", "details"}`, and where it helps to come again later a
`Retry-After`. On a socket a request ends with a frame that has `error: true`, the `code` and the sentence as its
`body`; what belongs to no request comes as `{"type": "error", "code", "message"}`. A kind of error stands below the
wider one that it belongs to: who does not know the code may go by the status.

| code | HTTP | meaning |
|---|---|---|
"""


def document() -> str:
    """Return the table, as Markdown."""
    return HEAD + "".join(_row(error, depth) for error, depth in _tree(AppError))


def _tree(error: type[AppError], depth: int = 0) -> Iterator[tuple[type[AppError], int]]:
    yield error, depth
    for kind in error.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from _tree(kind, depth + 1)


def _row(error: type[AppError], depth: int) -> str:
    # Without its phrase, which is not the same in every version of Python.
    status = http_status(error("")).value
    meaning = " ".join((error.__doc__ or "").split())
    return f"| {'· ' * depth}`{error.code}` | {status} | {meaning} |\n"


if __name__ == "__main__":
    sys.stdout.write(document())
