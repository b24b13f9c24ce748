"""What sandboxd logs of calls."""

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from sandboxd.calls import FORMAT, LogCalls, stamp

pytestmark = pytest.mark.anyio


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
async def client(lines: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()

    @app.put("/sandboxd/files/{path:path}", status_code=201)
    async def put(path: str) -> None:
        logging.getLogger("sandboxd.files").info("inside")

    @app.get("/sandboxd/status")
    async def status() -> None:
        pass

    app.add_middleware(LogCalls)

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record).split(" ", 2)[2])

    handler = Lines()
    handler.addFilter(stamp)
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger("sandboxd")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox") as client:
        yield client
    root.removeHandler(handler)


async def test_a_call_that_changes_something_leaves_one_line(client: httpx.AsyncClient, lines: list[str]) -> None:
    """With the caller's id, which all lines have that come of it, and its route in place of the path."""
    await client.put("/sandboxd/files/secret-name.txt", headers={"X-Correlation-Id": "abc-1"})
    await client.get("/sandboxd/status", headers={"X-Correlation-Id": "abc-2"})

    inside, call = lines
    assert inside == "INFO sandboxd.files abc-1 inside"
    assert call.startswith("INFO sandboxd.calls abc-1 PUT /sandboxd/files/{path:path} 201 in ")
    assert "secret-name" not in str(lines)


@pytest.mark.parametrize("said", [None, "", "a b", "x" * 65, "a%0ab"])
async def test_what_is_no_id_is_not_repeated(client: httpx.AsyncClient, lines: list[str], said: str | None) -> None:
    """Nobody writes lines of their own."""
    await client.put("/sandboxd/files/a", headers={} if said is None else {"X-Correlation-Id": said})

    assert all(line.split(" ")[2] == "-" for line in lines)
    assert len(lines) == 2


async def test_a_call_that_breaks_down_leaves_one_too(client: httpx.AsyncClient, lines: list[str]) -> None:
    """Without a status."""

    async def broken(*_: object) -> None:
        raise RuntimeError

    transport = httpx.ASGITransport(LogCalls(broken))
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as other:
        with pytest.raises(RuntimeError):
            await other.post("/sandboxd/stop")

    (line,) = lines
    assert line.startswith("INFO sandboxd.calls - POST - 0 in ")
