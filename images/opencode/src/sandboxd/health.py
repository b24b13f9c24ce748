"""
Whether sandboxd answers: the container's health check, ``python -m sandboxd.health [HOST] [PORT]``.

It has no token, so the answer of the gate that stands before all routes is the sign: given by a loop that runs, and
by nobody else. OpenCode needs no check of its own: when that dies sandboxd ends, and the container with it.

Only the standard library, for it runs every few seconds on a thread's processor.
"""

import http.client
import json
import sys
from http import HTTPStatus

PATH = "/sandboxd/health"
SECONDS = 3.0


def answers(host: str, port: int, *, seconds: float = SECONDS) -> bool:
    """Whether sandboxd is what listens there and answers in that time."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        return answer.status == HTTPStatus.UNAUTHORIZED and json.load(answer)["code"] == "unauthorized"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()


def main(host: str = "127.0.0.1", port: str = "4096") -> int:
    """Return the exit code: 0 when it is well, 1 when it is not."""
    return 0 if answers(host, int(port)) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
