"""How starts of sandboxes end, as operators see it: one line of the log and its metrics for each."""

from sandbox_ctl.sandboxes import Sandbox
from threadbox.measures import emit
from threadbox.telemetry import logger


def started(sandbox: Sandbox) -> None:
    """Tell of a start that has led to a sandbox that answers."""
    whole = sum(sandbox.phases.values())
    logger.info(
        "sandbox ready",
        thread_id=sandbox.thread_id,
        generation=sandbox.generation,
        start_ms=whole,
        phases=sandbox.phases,
        retries=sandbox.retries,
        size=sandbox.launch.size,
    )
    emit({"StartFailures": 0, "WholeStartTime": whole})
    for phase, milliseconds in sandbox.phases.items():
        emit({"StartTime": milliseconds}, phase=phase)


def not_started(sandbox: Sandbox) -> None:
    """Tell of a start that was given up."""
    logger.error(
        "sandbox failed",
        thread_id=sandbox.thread_id,
        generation=sandbox.generation,
        detail=sandbox.detail,
        reason=sandbox.reason,
    )
    emit({"StartFailures": 1})
