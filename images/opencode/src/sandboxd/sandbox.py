"""
One sandbox: whom it serves and how far it is.

    unbound ── bind ──▶ restoring ──▶ booting ──▶ ready
       │                    │            │          │
       └────────────────────┴────────────┴──────────┴── stop, a signal, a failure ──▶ stopping

It is bound once. From *stopping* there is no way back: the process ends.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from sandboxd import orphans
from sandboxd.activity import Activity
from sandboxd.agent_home import AgentHome
from sandboxd.bound import Bound, compose_bound
from sandboxd.connection import Connection
from sandboxd.contract import Bind, ExitCode, LogRange, State, Status
from sandboxd.conversation import Conversation
from sandboxd.errors import AlreadyBoundError, EndingError, NotReadyError, OpenCodeError, StaleGenerationError
from sandboxd.events import EventLog
from sandboxd.files import READING
from sandboxd.memory.contract import MemoryStatus
from sandboxd.memory.manifest import Manifest, thread_hash
from sandboxd.memory.packing import PackingError
from sandboxd.memory.storage import StorageClient, StorageError
from sandboxd.memory.thread_memory import ThreadMemory
from sandboxd.opencode import OpenCode
from sandboxd.patience import in_time
from sandboxd.policy import PolicyKeeper
from sandboxd.prompts import Prompts
from sandboxd.providers import upstreams
from sandboxd.services import Services, compose_services
from sandboxd.settings import Settings
from sandboxd.signin import SignIn
from sandboxd.tasks import Tasks
from sandboxd.upstream import ModelProxy

logger = logging.getLogger(__name__)


class Sandbox:
    """The daemon's heart: owns OpenCode's supervisor, the event log and every background task."""

    def __init__(
        self, settings: Settings, *, task_arn: str, version: str, proxy: ModelProxy, storage: StorageClient
    ) -> None:
        self._settings = settings
        self._task_arn = task_arn
        self._version = version
        self._proxy = proxy
        self._storage = storage
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
        self.activity = Activity()
        self._services = compose_services(settings, home=self._home, tasks=self._tasks, busy=self._busy)
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

    @property
    def services(self) -> Services:
        """
        What works on files and commands for the control plane.

        Raises:
            NotReadyError: the sandbox is not ready.
        """
        self._ready()
        return self._services

    @property
    def memory(self) -> ThreadMemory:
        """
        What outlives the sandbox.

        Raises:
            NotReadyError: it is not bound.
        """
        if self._bound is None:
            raise NotReadyError
        return self._bound.memory

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
            memory=self._bound.memory.saver.status() if self._bound else MemoryStatus(),
            log=LogRange(first=self.log.first, last=self.log.last),
        )

    async def wait_booted(self, seconds: float) -> None:
        """Return when the sandbox is done with restoring and booting, or when *seconds* have passed."""
        if self._state in (State.RESTORING, State.BOOTING):
            await in_time(self._left_booting.wait(), seconds)

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
            storage=self._storage,
            describe=self._describe,
            log=self.log,
            tasks=self._tasks,
            activity=self.activity,
            died=self._end_with_opencode,
            end=self.end,
        )
        self._enter(State.RESTORING if request.memory and request.memory.kept else State.BOOTING)
        self._tasks.spawn(self._start(self._bound, request))

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
        """End all that was started: streams, tasks, OpenCode, and whatever the agent left behind; then save."""
        self.log.close()
        if self._bound is not None:
            self._bound.signin.close()
        await self._services.close()
        await self._tasks.close()
        if self._bound is not None:
            await self._bound.supervisor.stop()
        await orphans.end_all()
        if self._bound is not None:
            await self._bound.memory.saver.finish()

    def reap_orphans(self) -> None:
        """Collect ended processes that have no parent left; for SIGCHLD."""
        pid = self._bound.supervisor.pid if self._bound else None
        waited_for = self._services.children.known
        if self._bound is None or pid is None or waited_for is None:
            return
        # A child that has only just been started is not known by its id yet: orphans wait for the next signal.
        if not self._bound.memory.packing.running:
            orphans.reap((pid, *waited_for))

    @contextlib.contextmanager
    def _busy(self, what: str) -> Iterator[None]:
        """Around everything that is done for the control plane in the workspace."""
        try:
            with self.activity.busy(what):
                yield
        finally:
            if what != READING and self._bound is not None:
                self._bound.memory.saver.note_change()

    def _ready(self) -> Bound:
        if self._state is State.STOPPING:
            raise EndingError
        if self._bound is None or self._state is not State.READY:
            raise NotReadyError
        return self._bound

    async def _start(self, bound: Bound, request: Bind) -> None:
        session_id = None
        try:
            self._home.prepare()
            if request.memory is not None:
                bound.memory.saver.allow(request.memory.upload)
                async with asyncio.timeout(self._settings.restore_seconds):
                    manifest = await bound.memory.restore(request.memory)
                session_id = manifest.session_id if manifest else None
        except (StorageError, PackingError, TimeoutError, OSError) as exc:
            # To start with nothing would be to lose it: what is saved then is newer.
            logger.critical("not restored: %s: %s", type(exc).__name__, exc)
            self.end(ExitCode.NOT_RESTORED)
            return
        if self._state is State.RESTORING:
            self._enter(State.BOOTING)
        await self._boot(bound, request, session_id)

    async def _boot(self, bound: Bound, request: Bind, session_id: str | None) -> None:
        try:
            async with asyncio.timeout(self._settings.boot_seconds):
                bound.connection.prepare(request.codex)
                self._opencode_version, self._session_id = await bound.supervisor.boot(session_id)
                opencode = await bound.supervisor.opencode(self._settings.held_seconds)
                await bound.connection.started(opencode.client)
        except (OpenCodeError, TimeoutError, OSError) as exc:
            said = bound.supervisor.last_output
            logger.critical("boot failed: %s: %s; OpenCode said: %s", type(exc).__name__, exc, said)
            self.end(ExitCode.BOOT_FAILED)
            return
        self._proxy.open(upstreams(request.model, request.keys, request.base_urls))
        self._tasks.spawn(bound.credentials.guard())
        bound.memory.saver.begin()
        self._enter(State.READY)
        self._tasks.spawn(bound.retirement.watch())

    def _describe(self, **saved: Any) -> Manifest:
        return Manifest(
            thread=thread_hash(self.thread_id or ""),
            generation=self.generation or 0,
            opencode_version=self._opencode_version or "",
            session_id=self._session_id or "",
            saved_at=int(time.time()),
            **saved,
        )

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
