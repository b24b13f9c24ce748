"""
The use cases of a sandbox's life: ensure, lend, stop, status, and what an ECS event leads to.

Nothing here waits for a sandbox to start. A start is moved on by whoever calls next, one holder of the lease at a
time, as far as it goes without waiting; the caller hears ``starting`` and comes again.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from sandbox_ctl.callkeys import USE_LIFE, CallSigner, Scope
from sandbox_ctl.codex import CodexService
from sandbox_ctl.daemon import PORT, audience
from sandbox_ctl.lifecycle import ENDED, STARTED, State
from sandbox_ctl.memories import MemoryService
from sandbox_ctl.policies import PolicyService
from sandbox_ctl.rollout import Rollout
from sandbox_ctl.sandboxes import Launch, Sandbox, SandboxStore
from sandbox_ctl.sizes import Sizes
from sandbox_ctl.starts import Starter
from sandbox_ctl.status import Status
from threadbox.control import Access, Codex, Starting
from threadbox.errors import (
    ConflictError,
    OpenCodeError,
    RateLimitedError,
    SandboxUnavailableError,
    StaleGenerationError,
)
from threadbox.policies import Policy
from threadbox.telemetry import logger
from threadbox.threads import ThreadStore

ATTEMPTS = 5
WARN_SECONDS = 900
"""So long before a sandbox is too old its user is told."""
STOP_AGAIN = 45
"""A task that was asked to end has ended by then, its 30 s of grace included; else the asking went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxService:
    """What the operations and routes of sandbox_ctl do."""

    store: SandboxStore
    threads: ThreadStore
    rollout: Rollout
    codex: CodexService
    policies: PolicyService
    memories: MemoryService
    starter: Starter
    signer: CallSigner
    task_definitions: Mapping[str, str]
    sizes: Sizes
    life_seconds: int
    new_owner: Callable[[], str] = lambda: uuid4().hex

    def ensure(
        self,
        thread_id: str,
        *,
        scope: Scope,
        waiting_for: int | None = None,
        suspect: int | None = None,
        refused: int | None = None,
        size: str | None = None,
    ) -> Access | Starting:
        """
        Return access to the thread's sandbox, or how far its start has come; begin one when there is none.

        *waiting_for* is the generation the caller has been told is starting: when that failed the caller is told so,
        instead of another start. *suspect* is a generation that did not answer the caller: ECS is asked about it.

        For a turn it also sees to the sandbox's tool policy, and to its access token, if the thread has a grant;
        *refused* is the version of tokens that Codex's models did not take, however long they should live.

        One that is begun has *size*; without, that of the one before, or the default. One that runs keeps its own.

        Raises:
            InvalidRequestError: there is no such size.
            SandboxNotEnabledError, RolloutUnreadableError: one would have to be started, and may not be.
            RateLimitedError: as much, since the thread's owner has as many as may be.
            SandboxUnavailableError: the start the caller waited for has failed.
            VaultUnreadableError: the thread has a grant that cannot be opened, and nothing is started without it.
            VaultUnavailableError, OpenCodeError: the sandbox's access token is over, and it cannot be given another.
            OpenCodeError: the sandbox does not take its tool policy.
        """
        if size is not None:
            self.sizes.get(size)
        for _ in range(ATTEMPTS):
            sandbox, policy = self.store.find_with_policy(thread_id)
            if sandbox is not None and sandbox.state in STARTED:
                sandbox = self._look_into(sandbox) if self._doubted(sandbox, suspect) else sandbox
            if sandbox is None or sandbox.state in ENDED:
                if sandbox is not None and waiting_for is not None and sandbox.state == State.FAILED:
                    raise _failed(sandbox)
                self.rollout.admit(thread_id)
                self.codex.prepare(thread_id, refresh=scope == "turn")
                self._claim(thread_id, size=size or (sandbox.launch.size if sandbox is not None else None))
                continue
            if sandbox.state == State.STARTING:
                sandbox = self.move_on(sandbox) or sandbox
            if sandbox.state == State.FAILED:
                raise _failed(sandbox)
            if sandbox.state == State.RUNNING and (access := self._use(sandbox, policy, scope, refused)) is not None:
                waited = waiting_for is not None
                return access.model_copy(update={"phases": sandbox.phases}) if waited else access
            if sandbox.state in (State.STARTING, State.STOPPING):
                phases = sandbox.phases if sandbox.state == State.STARTING else {}
                return Starting(
                    state=sandbox.state, detail=sandbox.detail, generation=sandbox.generation, phases=phases
                )
        raise SandboxUnavailableError("The sandbox could not be started just now.", retry_after=5)

    def lend(self, thread_id: str, *, scope: Scope, generation: int) -> Access:
        """
        Return access to the running sandbox of *generation*; never starts one.

        Raises:
            StaleGenerationError: that sandbox is gone.
            SandboxUnavailableError: it is not running.
        """
        sandbox = self.get(thread_id)
        if sandbox.generation != generation:
            raise StaleGenerationError("That sandbox is gone.", generation=sandbox.generation)
        if sandbox.state != State.RUNNING:
            raise SandboxUnavailableError("The sandbox is not running.", state=sandbox.state)
        return self._access(sandbox, scope)

    def get(self, thread_id: str) -> Sandbox:
        """
        Return the thread's sandbox as it is known.

        Raises:
            SandboxUnavailableError: the thread never had one.
        """
        sandbox = self.store.find(thread_id)
        if sandbox is None:
            raise SandboxUnavailableError("The sandbox is not running.", state=State.STOPPED)
        return sandbox

    def status(self, thread_id: str) -> Status:
        """Return what the thread's user is told of its sandbox."""
        sandbox = self.store.find(thread_id)
        ends_at = self.ends_at(sandbox) if sandbox is not None else None
        active_at = self.store.find_last_turn(thread_id) if sandbox is not None else None
        return Status.of(sandbox, self.codex.grants.find(thread_id), ends_at=ends_at, active_at=active_at)

    def ends_at(self, sandbox: Sandbox) -> int | None:
        """Return when a running sandbox ends between two turns, however much it is used; epoch seconds."""
        running = sandbox.state == State.RUNNING and sandbox.started_at is not None
        return (sandbox.started_at or 0) + self.life_seconds if running else None

    def stop(self, thread_id: str) -> Sandbox | None:
        """
        Ask the sandbox to end, if there is one; the event that it has ended comes later.

        Raises:
            ConflictError: its task is only just being started.
            SandboxUnavailableError: ECS cannot be asked.
        """
        for _ in range(ATTEMPTS):
            sandbox = self.store.find(thread_id)
            if sandbox is not None and sandbox.state == State.STARTING and sandbox.task_arn is None:
                # A task that may exist must be known before it can be stopped: RunTask repeated names it.
                sandbox = self.move_on(sandbox)
                if sandbox is None or (sandbox.state == State.STARTING and sandbox.task_arn is None):
                    break
            if sandbox is None or sandbox.state in ENDED:
                return sandbox
            stopping = self.store.stopping(sandbox) if sandbox.state != State.STOPPING else sandbox
            if stopping is not None:
                self.starter.stop(stopping, reason="stopped by its user")
                logger.info("sandbox stopping", thread_id=thread_id, generation=stopping.generation)
                return self.confirm(stopping)
        raise ConflictError("The sandbox is just being started. Please try again.", retry_after=1)

    def disconnect(self, thread_id: str) -> bool:
        """
        End the thread's Codex connection, in the sandbox that runs and in the vault; False when there was none.

        Raises:
            OpenCodeError: the sandbox does not let go of it. Then the grant stays, and trying again is enough.
            ConflictError: too much changed meanwhile.
        """
        removed = False
        for _ in range(ATTEMPTS):
            sandbox = self._running(thread_id)
            try:
                removed |= self.codex.disconnect(thread_id, sandbox)
            except OpenCodeError:
                # One that ended, unnoticed until now, has nothing left to let go of.
                if sandbox is None or self.confirm(sandbox).state == State.RUNNING:
                    raise
                continue
            now_runs = self._running(thread_id)
            # One that was only starting may have been lent to before the grant was gone.
            if now_runs is None or (sandbox is not None and now_runs.generation == sandbox.generation):
                return removed
        raise ConflictError("Too much is going on here just now. Please try again.", retry_after=1)

    def forget(self, thread_id: str) -> int:
        """
        Delete what is kept of the thread's sandboxes, and have the one that runs save nothing more; return how much.

        Raises:
            OpenCodeError: the sandbox does not take it. Nothing is deleted then, and trying again is enough.
            SandboxUnavailableError: S3 does not answer.
        """
        sandbox = self.store.find(thread_id)
        if sandbox is not None and (sandbox.address is None or sandbox.state in (State.STOPPED, State.FAILED)):
            sandbox = None
        try:
            removed = self.memories.forget(thread_id, sandbox)
        except OpenCodeError:
            # One that ended, unnoticed until now, saves nothing more.
            if sandbox is None or self.starter.ended(sandbox) is None:
                raise
            removed = self.memories.forget(thread_id, None)
        logger.info("memory forgotten", thread_id=thread_id, removed=removed)
        return removed

    def configure(self, thread_id: str) -> None:
        """
        Tell the sandbox its thread's tool policy, if it runs; else it hears of it when it starts.

        Raises:
            OpenCodeError: it does not take it. It is told again before its next turn.
        """
        sandbox, policy = self.store.find_with_policy(thread_id)
        if sandbox is not None and sandbox.state == State.RUNNING:
            self.policies.tell(sandbox, policy)

    def task_changed(self, thread_id: str, task_arn: str) -> None:
        """React to an ECS event, which is a hint: what it claims is looked up before anything changes."""
        sandbox = self.store.find(thread_id)
        if sandbox is None:
            return
        if sandbox.state == State.STARTING:
            self.move_on(sandbox)
        elif sandbox.state in STARTED and sandbox.task_arn == task_arn:
            self.confirm(sandbox)

    def move_on(self, sandbox: Sandbox) -> Sandbox | None:
        """Go on with a start that nobody works on; None when somebody does."""
        return self.starter.advance(sandbox, owner=self.new_owner(), launch=self._launch)

    def _use(self, sandbox: Sandbox, policy: Policy, scope: Scope, refused: int | None) -> Access | None:
        """Return access to a running sandbox, which has what it needs for *scope*; None when it has ended."""
        try:
            if scope == "turn":
                self.policies.tell(sandbox, policy)
                self.memories.renew(sandbox)
            codex = self.codex.freshen(sandbox, refused=refused) if scope == "turn" else None
            return self._access(sandbox, scope, codex)
        except OpenCodeError:
            # It may have ended unnoticed until now, or be about to.
            if self._look_into(sandbox).state == State.RUNNING:
                raise
            return None

    def _running(self, thread_id: str) -> Sandbox | None:
        sandbox = self.store.find(thread_id)
        return sandbox if sandbox is not None and sandbox.state == State.RUNNING else None

    def _doubted(self, sandbox: Sandbox, suspect: int | None) -> bool:
        return sandbox.state == State.STOPPING or suspect == sandbox.generation

    def confirm(self, sandbox: Sandbox) -> Sandbox:
        """Ask ECS whether the sandbox's task is over, write that down if it is, and return the row as it is then."""
        ended = self.starter.ended(sandbox)
        if ended is None:
            if sandbox.state == State.STOPPING and self.starter.now() - sandbox.phase_at > STOP_AGAIN:
                # Whoever wanted it to end died before ECS heard of it, or ECS did not take it.
                with suppress(SandboxUnavailableError):
                    self.starter.stop(sandbox, reason="asked to end before")
            return sandbox
        logger.info("sandbox stopped", thread_id=sandbox.thread_id, generation=sandbox.generation, reason=ended)
        return self.store.stopped(sandbox, reason=ended) or self.store.find(sandbox.thread_id) or sandbox

    def _look_into(self, sandbox: Sandbox) -> Sandbox:
        """Return the row as it is once it has been asked whether the sandbox is over, or says itself that it ends."""
        sandbox = self.confirm(sandbox)
        if sandbox.state != State.RUNNING:
            return sandbox
        try:
            ending = self.starter.daemon.hello(sandbox).state == "stopping"
        except OpenCodeError:
            return sandbox
        return (self.store.stopping(sandbox) or self.get(sandbox.thread_id)) if ending else sandbox

    def _claim(self, thread_id: str, *, size: str | None) -> None:
        owner = self.new_owner()
        user_id = self.threads.find_owner(thread_id)
        claim = partial(self.store.claim, thread_id, launch=self._launch(size), owner=owner, user_id=user_id)
        try:
            sandbox = claim()
        except RateLimitedError:
            if user_id is None or not self._has_lost_one(user_id):
                raise
            sandbox = claim()
        if sandbox is not None:
            logger.info("sandbox requested", thread_id=thread_id, generation=sandbox.generation)
            self.starter.run(sandbox, owner=owner, launch=self._launch)

    def _has_lost_one(self, user_id: str) -> bool:
        """Whether one of the user's sandboxes is over, unnoticed until now: nobody is refused for what is gone."""
        counted = self.store.counted(user_id)
        living = (sandbox for sandbox in counted if sandbox.state in STARTED)
        return any(self.confirm(sandbox).state in ENDED for sandbox in living)

    def _launch(self, size: str | None) -> Launch:
        chosen = self.sizes.known(size)
        key = self.signer.current()
        environment = {"SANDBOXD_CALL_KEYS": f'{{"{key.kid}":"{key.public}"}}'}
        return Launch(
            task_definition=self.task_definitions[chosen.architecture],
            environment=environment,
            key_id=key.kid,
            size=chosen.name,
            cpu=chosen.cpu,
            memory=chosen.memory,
        )

    def _access(self, sandbox: Sandbox, scope: Scope, codex: Codex | None = None) -> Access:
        try:
            token = self.signer.use(audience(sandbox), scope=scope)
        except LookupError as exc:
            raise OpenCodeError("The sandbox's call key is out of use. Stop it, and another one will start.") from exc
        ends_at = self.ends_at(sandbox)
        soon = ends_at is not None and ends_at - self.starter.now() <= WARN_SECONDS
        return Access(
            url=f"http://{sandbox.address}:{PORT}",
            token=token,
            expires_in=USE_LIFE,
            generation=sandbox.generation,
            session_id=sandbox.session_id or "",
            codex=codex,
            ends_at=ends_at if soon else None,
        )


def _failed(sandbox: Sandbox) -> SandboxUnavailableError:
    return SandboxUnavailableError(sandbox.reason or "The sandbox could not be started.", retry_after=5)
