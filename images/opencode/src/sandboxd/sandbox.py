"""
One sandbox: whom it serves and how far it is.

    unbound ── bind ──▶ booting ──▶ ready
       │                   │          │
       └───────────────────┴──────────┴── stop, a signal, a failure ──▶ stopping

It is bound once. From *stopping* there is no way back: the process ends.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass

from sandboxd import orphans
from sandboxd.agent_home import AgentHome
from sandboxd.contract import Bind, ExitCode, LogRange, State, Status
from sandboxd.conversation import Conversation
from sandboxd.errors import AlreadyBoundError, NotReadyError, OpenCodeError, StaleGenerationError
from sandboxd.events import EventLog, EventReader
from sandboxd.opencode import OpenCode, compose_config
from sandboxd.providers import WARM_UP, Upstream, compose_providers, upstreams
from sandboxd.settings import Settings
from sandboxd.upstream import ModelProxy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The thread served, and the run of OpenCode that serves it."""

    thread_id: str
    generation: int
    opencode: OpenCode


class Sandbox:
    """The daemon's heart: owns OpenCode, its event log and every task that watches them."""

    def __init__(self, settings: Settings, *, task_arn: str, version: str, proxy: ModelProxy) -> None:
        self._settings = settings
        self._task_arn = task_arn
        self._version = version
        self._proxy = proxy
        self._home = AgentHome(
            workspace=settings.workspace, home=settings.home, uid=settings.agent_uid, gid=settings.agent_gid
        )
        self._state = State.UNBOUND
        self._bound: Bound | None = None
        self._session_id: str | None = None
        self._opencode_version: str | None = None
        self._left_booting = asyncio.Event()
        self._ended: asyncio.Future[ExitCode] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self.log = EventLog(max_events=settings.log_events, max_bytes=settings.log_bytes)

    @property
    def thread_id(self) -> str | None:
        """The thread this sandbox serves, None before bind."""
        return self._bound.thread_id if self._bound else None

    @property
    def generation(self) -> int | None:
        """The generation this sandbox was bound with, None before bind."""
        return self._bound.generation if self._bound else None

    @property
    def opencode(self) -> OpenCode:
        """
        The server to pass calls to.

        Raises:
            NotReadyError: there is none, or it is not ready.
        """
        if self._bound is None or self._state is not State.READY:
            raise NotReadyError
        return self._bound.opencode

    def events(self, *, after: int | None, generation: int | None) -> AsyncIterator[bytes]:
        """
        The event log as lines, from number *after* on (None: from now on).

        Raises:
            NotReadyError: there is no log before bind.
            StaleGenerationError: *generation* is given and is not this sandbox's.
        """
        if self._bound is None:
            raise NotReadyError
        if generation not in (None, self._bound.generation):
            raise StaleGenerationError
        return self.log.stream(
            generation=self._bound.generation, after=after, heartbeat=self._settings.heartbeat_seconds
        )

    def status(self) -> Status:
        """How things are, now."""
        return Status(
            task_arn=self._task_arn,
            state=self._state,
            thread_id=self.thread_id,
            generation=self.generation,
            session_id=self._session_id,
            version=self._version,
            opencode_version=self._opencode_version,
            protected=self._home.second_user,
            log=LogRange(first=self.log.first, last=self.log.last),
        )

    async def wait_booted(self, seconds: float) -> None:
        """Return when the state is not *booting*, or when *seconds* have passed."""
        if self._state is State.BOOTING:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._left_booting.wait()

    def bind(self, request: Bind) -> None:
        """
        Serve this thread from now on, and start to boot. A repetition changes nothing.

        Raises:
            AlreadyBoundError: it serves another thread or generation.
            NotReadyError: it is about to end.
        """
        if self._bound is not None:
            if (self.thread_id, self.generation) != (request.thread_id, request.generation):
                raise AlreadyBoundError
            return
        if self._state is not State.UNBOUND:
            raise NotReadyError
        opencode = OpenCode(self._settings.opencode, self._home)
        self._bound = Bound(thread_id=request.thread_id, generation=request.generation, opencode=opencode)
        self._enter(State.BOOTING)
        self._spawn(self._boot(self._bound, request))

    def end(self, code: ExitCode) -> None:
        """Begin to end; the first reason given is the one that counts."""
        if not self._ended.done():
            self._enter(State.STOPPING)
            self._ended.set_result(code)

    async def ended(self) -> ExitCode:
        """Wait until the sandbox is to end, and return why. One that nobody binds in time ends by itself."""
        asyncio.get_running_loop().call_later(self._settings.unbound_seconds, self._end_if_unbound)
        return await self._ended

    async def close(self) -> None:
        """End all that was started: streams, tasks, OpenCode, and whatever the agent left behind."""
        self.log.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._bound is not None:
            await self._bound.opencode.stop(self._settings.stop_seconds)
        await orphans.end_all()

    def reap_orphans(self) -> None:
        """Collect ended processes that have no parent left; for SIGCHLD."""
        pid = self._bound.opencode.pid if self._bound else None
        if pid is not None:
            orphans.reap((pid,))

    async def _boot(self, bound: Bound, request: Bind) -> None:
        try:
            async with asyncio.timeout(self._settings.boot_seconds):
                self._home.prepare()
                ways_out = upstreams(request.model, request.keys, request.base_urls)
                proxied = {provider: self._proxy.base_url(provider) for provider in (*ways_out, WARM_UP)}
                models = compose_providers(request.model, proxied=proxied)
                self._opencode_version = await bound.opencode.start(compose_config(models))
                self._spawn(self._watch(bound.opencode))
                await self._ready_session(bound, ways_out)
        except (OpenCodeError, TimeoutError, OSError) as exc:
            logger.critical(
                "boot failed: %s: %s; OpenCode said: %s", type(exc).__name__, exc, bound.opencode.last_output()
            )
            self.end(ExitCode.BOOT_FAILED)
            return
        self._enter(State.READY)

    async def _ready_session(self, bound: Bound, ways_out: Mapping[str, Upstream]) -> None:
        """Warm OpenCode up against the proxy's stub, meanwhile get the thread's session; then open the way out."""
        conversation = Conversation(bound.opencode.client)
        warm_up = await conversation.begin_warm_up()
        self._session_id, _ = await asyncio.gather(
            conversation.find_or_create(), conversation.warm_up(warm_up)
        )
        self._proxy.open(ways_out)
        reader = EventReader(bound.opencode.client, self.log)
        reader.ignore_session(warm_up)
        self._spawn(reader.run())
        await reader.connected()

    async def _watch(self, opencode: OpenCode) -> None:
        status = await opencode.exited()
        if self._state is State.BOOTING:
            logger.critical("OpenCode ended while booting, status %d", status)
            self.end(ExitCode.BOOT_FAILED)
        else:
            logger.critical("OpenCode ended unplanned, status %d", status)
            self.end(ExitCode.OPENCODE_DIED)

    def _end_if_unbound(self) -> None:
        if self._state is State.UNBOUND:
            logger.warning("nobody bound this sandbox in time")
            self.end(ExitCode.NEVER_BOUND)

    def _enter(self, state: State) -> None:
        logger.info("state %s -> %s", self._state, state)
        self._state = state
        if state in (State.READY, State.STOPPING):
            self._left_booting.set()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("sandboxd failed", exc_info=error)
            self.end(ExitCode.INTERNAL)

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
