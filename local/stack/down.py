"""``make down``: no process of the stack is left, and no port."""

from collections.abc import Callable

from local.stack.layout import Layout
from local.stack.parts import STOP_ORDER
from local.stack.ports import Ports
from local.stack.processes import PartFailedError, Processes, wait_until
from local.stack.stack_file import StackFile

PATIENCE_SECONDS = 15
PORTS_SECONDS = 10


def down(layout: Layout, say: Callable[[str], None]) -> None:
    """
    Stop everything; what was stored in the embedded AWS comes back with the next ``up``.

    Raises:
        PartFailedError: a process or a port would not go.

    """
    processes = Processes(layout)
    stopped = list(processes.running())
    file = StackFile.find(layout.stack_file)
    for name in STOP_ORDER:
        processes.stop(name, patience=PATIENCE_SECONDS)
    # Workers of functions that were at work, and what an interrupted command left.
    processes.end_strays()
    if file is not None and stopped:
        ports = Ports(file.ports["aws"])
        if not wait_until(lambda: not ports.busy(), seconds=PORTS_SECONDS):
            raise PartFailedError(f"something still listens on {ports.busy()}")
    layout.stack_file.unlink(missing_ok=True)
    say(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
