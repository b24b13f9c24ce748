"""
The run of OpenCode: its server, the reader of its events, and the watch over its end.

What is wanted (a restart, a dispose) keeps the event log and its numbers and is recorded in it as
``opencode.restarted``: who reads on re-reads the messages. An end that nobody wanted is told to *died*.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable

import httpx

from sandboxd.conversation import Conversation
from sandboxd.errors import NotReadyError, OpenCodeError
from sandboxd.events import EventLog, EventReader
from sandboxd.opencode import Launch, OpenCode
from sandboxd.patience import in_time
from sandboxd.tasks import Tasks
from sandboxd.upstream import ModelProxy

logger = logging.getLogger(__name__)

STATUS_SECONDS = 2


class Supervisor:
    """
    Owns OpenCode from its first start to its last end.

    *create* makes a server, *launch* is what it is started with, *on_event* is shown each event that goes to the
    log. ``boot`` once, ``stop`` always.
    """

    def __init__(
        self,
        create: Callable[[], OpenCode],
        launch: Launch,
        *,
        log: EventLog,
        tasks: Tasks,
        proxy: ModelProxy,
        died: Callable[[], None],
        on_event: Callable[[bytes], None],
        warm_up_seconds: float,
        boot_seconds: float,
        stop_seconds: float,
    ) -> None:
        self._create = create
        self._launched_with = launch
        self._log = log
        self._tasks = tasks
        self._proxy = proxy
        self._died = died
        self._on_event = on_event
        self._warm_up_seconds = warm_up_seconds
        self._boot_seconds = boot_seconds
        self._stop_seconds = stop_seconds
        self._opencode = create()
        self._watch: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        # One that was cut off is used again: its late events, too, must be kept out of the log.
        self._warm_up_session: str | None = None
        self._warm_up_left = False
        self._available = asyncio.Event()
        self._prompted = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """OpenCode's process id, None before it runs."""
        return self._opencode.pid

    @property
    def last_output(self) -> str:
        """What OpenCode printed last."""
        return self._opencode.last_output()

    async def opencode(self, seconds: float) -> OpenCode:
        """
        Return the server; during a restart, wait for it for so long.

        Raises:
            NotReadyError: there is none yet.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._available.wait()
        except TimeoutError:
            raise NotReadyError from None
        return self._opencode

    async def boot(self, session_id: str | None = None) -> tuple[str, str]:
        """
        Start the server and return its version and the id of the thread's session; then warm it up.

        *session_id* is what that was before. A prompt that comes at once is not held up, and takes the warm-up's place.

        Raises:
            OpenCodeError: it cannot be started, or fails.
        """
        version = await self._launch()
        found = await Conversation(self._opencode.client).find_or_create(session_id)
        await self._go_on()
        return version, found

    async def restart(self, reason: str, *, between: Callable[[], object], launch: Launch | None = None) -> None:
        """
        End the server and start another one, from now on with *launch* if given; *between* runs while there is none.

        Cuts off whatever OpenCode does, and costs the next prompt as much as a boot does. A failure is told to *died*.
        """
        self._available.clear()
        began = time.monotonic()
        try:
            await self._end_run()
            between()
            self._launched_with = launch or self._launched_with
            self._opencode = self._create()
            async with asyncio.timeout(self._boot_seconds):
                await self._launch()
                await self._go_on(restarted=reason)
        except (OpenCodeError, TimeoutError, OSError) as exc:
            logger.critical("restart failed: %s: %s; OpenCode said: %s", type(exc).__name__, exc, self.last_output)
            self._died()
        else:
            logger.info("restarted in %.1f s: %s", time.monotonic() - began, reason)

    async def dispose(self, reason: str) -> OpenCode | None:
        """
        Have OpenCode read its configuration and credentials anew, and return it.

        Cuts off whatever OpenCode does, and costs the next prompt as much as a restart does. Polls for an approval
        survive it. A failure is told to *died*, and None returned.
        """
        self._available.clear()
        began = time.monotonic()
        try:
            await self._stop_reading()
            async with asyncio.timeout(self._boot_seconds):
                (await self._opencode.client.post("/instance/dispose")).raise_for_status()
                await self._go_on(restarted=reason)
        except (OpenCodeError, TimeoutError, httpx.HTTPError) as exc:
            logger.critical("dispose failed: %s; OpenCode said: %s", type(exc).__name__, self.last_output)
            self._died()
            return None
        logger.info("disposed of in %.1f s: %s", time.monotonic() - began, reason)
        return self._opencode

    def prompted(self) -> None:
        """Say that a prompt is about to be handed over."""
        self._prompted.set()

    async def busy(self) -> bool:
        """Whether a session works on something, the warm-up apart. In doubt it does."""
        try:
            answer = await self._opencode.client.get("/session/status", timeout=STATUS_SECONDS)
            return bool(set(answer.raise_for_status().json()) - {self._warm_up_session})
        except (httpx.HTTPError, ValueError) as exc:
            logger.warning("OpenCode does not say what it does: %s", type(exc).__name__)
            return True

    async def stop(self) -> None:
        """End the server, for good."""
        self._available.clear()
        await self._end_run()

    async def _launch(self) -> str:
        opencode = self._opencode
        version = await opencode.start(self._launched_with)
        self._watch = self._tasks.spawn(self._tell_end(opencode))
        return version

    async def _tell_end(self, opencode: OpenCode) -> None:
        status = await opencode.exited()
        logger.critical("OpenCode ended unplanned, status %d", status)
        self._died()

    async def _end_run(self) -> None:
        await self._stop_reading()
        if self._watch is not None:
            self._watch.cancel()
        await self._opencode.stop(self._stop_seconds)

    async def _read_events(self, *, ignored: str) -> None:
        reader = EventReader(self._opencode.client, self._log, on_event=self._on_event)
        reader.ignore_session(ignored)
        self._reader = self._tasks.spawn(reader.run())
        await reader.connected()

    async def _stop_reading(self) -> None:
        tasks = [task for task in (self._reader, self._warming) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_on(self, *, restarted: str | None = None) -> None:
        """Read the server's events, let calls in, and see that it gets warm."""
        session_id = self._warm_up_session
        if session_id is None or not self._warm_up_left:
            session_id = await Conversation(self._opencode.client).begin_warm_up()
        self._warm_up_session, self._warm_up_left = session_id, True
        await self._read_events(ignored=session_id)
        if restarted is not None:
            event = {"type": "opencode.restarted", "properties": {"reason": restarted}}
            self._log.append(json.dumps(event, separators=(",", ":")).encode())
        self._prompted.clear()
        self._available.set()
        self._warming = self._tasks.spawn(self._warm_up(self._opencode, session_id))

    async def _warm_up(self, opencode: OpenCode, session_id: str) -> None:
        """Play a prompt of our own, unless somebody else's comes first: that warms it up as well."""
        conversation = Conversation(opencode.client)
        try:
            if await in_time(self._prompted.wait(), self._warm_up_seconds):
                await conversation.end_warm_up(session_id)
            else:
                with self._proxy.warming() as text:
                    async with asyncio.timeout(self._boot_seconds):
                        await conversation.warm_up(session_id, text)
                logger.info("warmed up")
        except (OpenCodeError, TimeoutError):
            logger.warning("OpenCode was not warmed up")
        self._warm_up_left = False
