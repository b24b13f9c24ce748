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
from collections.abc import AsyncIterator

from sandboxd import orphans
from sandboxd.agent_home import AgentHome
from sandboxd.bound import Bound, compose_bound
from sandboxd.connection import Connection
from sandboxd.contract import Bind, ExitCode, LogRange, State, Status
from sandboxd.conversation import Conversation
from sandboxd.errors import AlreadyBoundError, NotReadyError, OpenCodeError, StaleGenerationError
from sandboxd.events import EventLog
from sandboxd.opencode import OpenCode
from sandboxd.policy import PolicyKeeper
from sandboxd.prompts import Prompts
from sandboxd.providers import upstreams
from sandboxd.settings import Settings
from sandboxd.signin import SignIn
from sandboxd.tasks import Tasks
from sandboxd.upstream import ModelProxy

logger = logging.getLogger(__name__)


class Sandbox:
    """The daemon's heart: owns OpenCode's supervisor, the event log and every background task."""

    def __init__(self, settings: Settings, *, task_arn: str, version: str, proxy: ModelProxy) -> None:
        self._settings = settings
        self._task_arn = task_arn
        self._version = version
        self._proxy = proxy
        self._home = AgentHome(
            workspace=settings.workspace,
            home=settings.home,
            uid=settings.agent_uid,
            gid=settings.agent_gid,
            packages=settings.plugin,
        )
        self._state = State.UNBOUND
        self._bound: Bound | None = None
        self._session_id: str | None = None
        self._beginning = asyncio.Lock()
        self._opencode_version: str | None = None
        self._left_booting = asyncio.Event()
        self._ended: asyncio.Future[ExitCode] = asyncio.get_running_loop().create_future()
        self._tasks = Tasks(failed=lambda: self.end(ExitCode.INTERNAL))
        self.log = EventLog(max_events=settings.log_events, max_bytes=settings.log_bytes)

    @property
    def thread_id(self) -> str | None:
        """The thread this sandbox serves, None before bind."""
        return self._bound.thread_id if self._bound else None

    @property
    def generation(self) -> int | None:
        """The generation this sandbox was bound with, None before bind."""
        return self._bound.generation if self._bound else None

    async def opencode(self) -> OpenCode:
        """
        Return the server to pass calls to; while it restarts, wait for it.

        Raises:
            NotReadyError: there is none, or it is not ready in time.
        """
        return await self._ready().supervisor.opencode(self._settings.held_seconds)

    @property
    def prompts(self) -> Prompts:
        """
        Where prompts go.

        Raises:
            NotReadyError: the sandbox is not ready.
        """
        return self._ready().prompts

    @property
    def signin(self) -> SignIn:
        """
        Signing in.

        Raises:
            NotReadyError: the sandbox is not ready.
        """
        return self._ready().signin

    @property
    def connection(self) -> Connection:
        """
        The provider that a sign-in connects.

        Raises:
            NotReadyError: the sandbox is not ready.
        """
        return self._ready().connection

    @property
    def policy(self) -> PolicyKeeper:
        """
        The tool policy.

        Raises:
            NotReadyError: the sandbox is not ready.
        """
        return self._ready().policy

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

    def watch_signin(self, attempt_id: str, *, seconds: float) -> AsyncIterator[bytes]:
        """
        How an attempt to sign in is, as lines.

        Raises:
            NotReadyError: the sandbox is not ready.
            NoSigninError: it is not the current attempt.
        """
        return self.signin.find(attempt_id).watch(seconds=seconds, heartbeat=self._settings.heartbeat_seconds)

    async def begin_anew(self) -> None:
        """
        Put a new session in the place of the thread's session. The workspace stays as it is.

        Raises:
            NotReadyError: the sandbox is not ready.
            OpenCodeError: OpenCode failed; then the thread's session is gone, or is the one it was.
        """
        opencode = await self.opencode()
        async with self._beginning:
            self._session_id = await Conversation(opencode.client).begin_anew(self._session_id)

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
            codex_version=self._bound.credentials.version if self._bound else None,
            policy_version=self._bound.policy.told.version if self._bound else None,
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
        self._bound = compose_bound(
            request,
            self._settings,
            home=self._home,
            proxy=self._proxy,
            log=self.log,
            tasks=self._tasks,
            died=self._end_with_opencode,
        )
        self._enter(State.BOOTING)
        self._tasks.spawn(self._boot(self._bound, request))

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
        if self._bound is not None:
            self._bound.signin.close()
        await self._tasks.close()
        if self._bound is not None:
            await self._bound.supervisor.stop()
        await orphans.end_all()

    def reap_orphans(self) -> None:
        """Collect ended processes that have no parent left; for SIGCHLD."""
        pid = self._bound.supervisor.pid if self._bound else None
        if pid is not None:
            orphans.reap((pid,))

    def _ready(self) -> Bound:
        if self._bound is None or self._state is not State.READY:
            raise NotReadyError
        return self._bound

    async def _boot(self, bound: Bound, request: Bind) -> None:
        try:
            async with asyncio.timeout(self._settings.boot_seconds):
                self._home.prepare()
                bound.connection.prepare(request.codex)
                self._opencode_version, self._session_id = await bound.supervisor.boot()
                opencode = await bound.supervisor.opencode(self._settings.held_seconds)
                await bound.connection.started(opencode.client)
        except (OpenCodeError, TimeoutError, OSError) as exc:
            said = bound.supervisor.last_output
            logger.critical("boot failed: %s: %s; OpenCode said: %s", type(exc).__name__, exc, said)
            self.end(ExitCode.BOOT_FAILED)
            return
        self._proxy.open(upstreams(request.model, request.keys, request.base_urls))
        self._tasks.spawn(bound.credentials.guard())
        self._enter(State.READY)

    def _end_with_opencode(self) -> None:
        self.end(ExitCode.BOOT_FAILED if self._state is State.BOOTING else ExitCode.OPENCODE_DIED)

    def _end_if_unbound(self) -> None:
        if self._state is State.UNBOUND:
            logger.warning("nobody bound this sandbox in time")
            self.end(ExitCode.NEVER_BOUND)

    def _enter(self, state: State) -> None:
        logger.info("state %s -> %s", self._state, state)
        self._state = state
        if state in (State.READY, State.STOPPING):
            self._left_booting.set()
