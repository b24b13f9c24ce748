"""The routes of commands, for control calls alone."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import StringConstraints

from sandboxd.commands import Command, Program
from sandboxd.orders import CheckedOut, Checkout, Exec, ExecId, ExecResult, ExecState
from sandboxd.paths import parse
from sandboxd.sandbox import Sandbox

SYNC_SECONDS = 25
WAIT_SECONDS = 20
SHELL = "/bin/bash"
# What is looked at in one call, of either stream.
PAGE_BYTES = 256 * 1024
# What a function may answer is 6 MB.
ANSWER_BYTES = 2_500_000
After = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}\.[0-9]{1,15}$"), Query()]


def exec_routes(sandbox: Sandbox) -> APIRouter:
    """Everything under ``/sandboxd`` that runs commands in the workspace."""
    router = APIRouter(prefix="/sandboxd")

    @router.post("/exec", responses={202: {"model": ExecState}})
    async def run(body: Exec, response: Response) -> ExecResult | ExecState:
        """
        Run a command to its end, or with ``exec_id`` in the background: repeated, the same one.

        Its end is the end of all that it started. Waited for are 25 s at most.
        """
        program = Program(
            argv=(SHELL, "-c", body.command),
            env=body.env,
            cwd=parse(body.cwd),
            stdin=None if body.stdin is None else body.stdin.encode(),
            timeout=body.timeout_seconds if body.exec_id else min(body.timeout_seconds, SYNC_SECONDS),
        )
        if body.exec_id is None:
            return _result(await sandbox.services.commands.run(program))
        response.status_code = HTTPStatus.ACCEPTED
        return _state(body.exec_id, sandbox.services.commands.start(program, body.exec_id), "0.0")

    @router.get("/exec/{exec_id}")
    async def look(
        exec_id: Annotated[ExecId, Path()],
        after: After = "0.0",
        wait: Annotated[float, Query(ge=0, le=WAIT_SECONDS)] = 0,
    ) -> ExecState:
        """How a command is, with what it printed behind ``after``; with ``wait``, once there is some, or its end."""
        command = sandbox.services.commands.find(exec_id)
        state = _state(exec_id, command, after)
        if wait and state.status == "running" and state.next == after:
            await command.changed(wait)
            state = _state(exec_id, command, after)
        return state

    @router.delete("/exec/{exec_id}")
    async def kill(exec_id: Annotated[ExecId, Path()]) -> ExecState:
        """Kill a command and all that it started, and answer when they are gone; one that has ended stays as it is."""
        command = sandbox.services.commands.find(exec_id)
        command.kill()
        await command.ended.wait()
        return _state(exec_id, command, ".".join(str(stream.end) for stream in command.streams))

    @router.post("/git/checkout", responses={202: {"model": ExecState}})
    async def checkout(body: Checkout, response: Response) -> CheckedOut | ExecState:
        """Have a commit of a repository in the workspace; with ``exec_id`` in the background, as a command."""
        if body.exec_id is None:
            waited_for = body.model_copy(update={"timeout_seconds": min(body.timeout_seconds, SYNC_SECONDS)})
            return await sandbox.services.checkouts.run(waited_for)
        response.status_code = HTTPStatus.ACCEPTED
        return _state(body.exec_id, await sandbox.services.checkouts.start(body, body.exec_id), "0.0")

    return router


def _result(command: Command) -> ExecResult:
    stdout, all_of_stdout = command.stdout.tail(ANSWER_BYTES)
    stderr, all_of_stderr = command.stderr.tail(ANSWER_BYTES)
    return ExecResult(
        exit_code=command.exit_code or 0,
        stdout=stdout,
        stderr=stderr,
        truncated=not (all_of_stdout and all_of_stderr),
        duration_ms=command.age_ms,
    )


def _state(exec_id: str, command: Command, after: str) -> ExecState:
    """How it is; it has ended for whoever has all of its output."""
    if command.failure is not None:
        raise command.failure
    positions = [int(position) for position in after.split(".")]
    read = [stream.read(at, PAGE_BYTES) for stream, at in zip(command.streams, positions, strict=True)]
    (stdout, _), (stderr, _) = read
    ended = command.ended.is_set() and all(
        at == stream.end for stream, (_, at) in zip(command.streams, read, strict=True)
    )
    return ExecState(
        exec_id=exec_id,
        status="ended" if ended else "running",
        exit_code=command.exit_code if ended else None,
        stdout=stdout,
        stderr=stderr,
        truncated=any(at < stream.begin for stream, at in zip(command.streams, positions, strict=True)),
        next=".".join(str(at) for _, at in read),
        duration_ms=command.age_ms,
    )
