"""The scripted model that both sides talk to: an instance of the demo model of the bench's own."""

import asyncio
import contextlib
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
NAME = "demo"
START_SECONDS = 20
STOP_SECONDS = 5


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextlib.asynccontextmanager
async def ended_in_the_end(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Whatever happens inside, the process has ended afterwards."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


@contextlib.asynccontextmanager
async def scripted_model(port: int) -> AsyncIterator[str]:
    """Run the model without pauses between its words, on *port*; gives its address, ending in /v1."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local.model", "--port", str(port), "--delay-ms", "0",
        cwd=ROOT, stdin=DEVNULL, stdout=DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/v1"
    async with ended_in_the_end(process):
        await _answers(f"{url}/models", process)
        yield url


async def _answers(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False) as client:
        while process.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                (await client.get(url)).raise_for_status()
                return
            await asyncio.sleep(0.05)
    raise RuntimeError(f"the model ended with {process.returncode}")
