"""Composes sandboxd and runs it to its end: the only module that knows all the others."""

import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack
from importlib.metadata import version

import httpx
from pydantic import ValidationError

from sandboxd import kernel, own_user
from sandboxd.app import create_app
from sandboxd.calls import FORMAT, stamp
from sandboxd.contract import ExitCode
from sandboxd.identity import IdentityError, get_task_arn
from sandboxd.listener import bind_socket, listening
from sandboxd.memory.storage import StorageClient
from sandboxd.sandbox import Sandbox
from sandboxd.settings import Settings
from sandboxd.tokens import TokenVerifier, public_keys
from sandboxd.upstream import TIMEOUT, ModelProxy, create_model_app

logger = logging.getLogger("sandboxd")


async def run(settings: Settings) -> ExitCode:
    """Serve one thread, and return why that ended."""
    keys = public_keys(settings.call_keys)
    task_arn = await get_task_arn(str(settings.metadata_uri))
    async with AsyncExitStack() as stack:
        outside = bind_socket(settings.host, settings.port)
        loopback = bind_socket("127.0.0.1", 0)
        model_client = await stack.enter_async_context(httpx.AsyncClient(timeout=TIMEOUT, trust_env=False))
        proxy = ModelProxy(port=loopback.getsockname()[1], client=model_client)
        storage = StorageClient(await stack.enter_async_context(httpx.AsyncClient(trust_env=False)))
        sandbox = Sandbox(settings, task_arn=task_arn, version=version("sandboxd"), proxy=proxy, storage=storage)
        app = create_app(sandbox, TokenVerifier(keys, audience=task_arn), body_bytes=settings.body_bytes)
        await stack.enter_async_context(listening(create_model_app(proxy), loopback))
        await stack.enter_async_context(listening(app, outside))
        stack.push_async_callback(sandbox.close)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, sandbox.end, ExitCode.OK)
        loop.add_signal_handler(signal.SIGCHLD, sandbox.reap_orphans)
        return await sandbox.ended()


def main() -> ExitCode:
    """Read the settings, become sandboxd's own user, close this process to the agent, run."""
    output = logging.StreamHandler()
    output.addFilter(stamp)
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=[output])
    for chatty in ("httpx", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings = Settings()
        own_user.become(settings.own_uid, settings.own_gid)
        # After the change of user, which would undo it.
        kernel.make_undumpable()
        kernel.adopt_orphans()
        code = asyncio.run(run(settings))
    except ValidationError as exc:
        # Names only: a value may be worth hiding.
        logger.critical("bad settings: %s", ", ".join(str(item["loc"][0]) for item in exc.errors()))
        return ExitCode.MISCONFIGURED
    except (IdentityError, ValueError, OSError) as exc:
        logger.critical("cannot start: %s", exc)
        return ExitCode.MISCONFIGURED
    logger.info("ended: %s", code.name)
    return code


if __name__ == "__main__":
    sys.exit(main())
