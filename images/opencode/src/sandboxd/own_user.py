"""
The user sandboxd runs as, when a container starts it as root: its own, neither root nor the agent's.

    root, what Fargate grants ──▶ sandboxd's user, KEPT in its own hands ──exec──▶ the agent's user, nothing

A process keeps what it holds through a change of user, but nothing of it outlives an exec, unless that is given it
(``children.py`` does, for our own modules). So a child that sandboxd makes the agent's has none, whoever forgot to take
them away, and no program of the image can give it any (``no_new_privs``).
"""

import os

from sandboxd import kernel
from sandboxd.kernel import Capability

KEPT = frozenset(
    (
        Capability.CHOWN,  # what it makes for the agent is the agent's
        Capability.DAC_OVERRIDE,  # the agent's home and workspace are closed to others
        Capability.FOWNER,  # modes and dates of restored files
        Capability.KILL,  # the agent's processes end with the sandbox
        Capability.SETGID,  # children become the agent
        Capability.SETUID,
    )
)
BECOMING_ANOTHER = frozenset((Capability.SETGID, Capability.SETUID))


def become(uid: int, gid: int) -> None:
    """
    Go on as that user, with the capabilities ``KEPT`` and without a way to more. 0: stay who it is.

    Comes before anything starts a thread: capabilities are a thread's own.

    Raises:
        OSError: this process may not, or was not granted one of ``KEPT``.
    """
    if uid == 0:
        return
    kernel.keep_capabilities_through_change_of_user()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    kernel.set_capabilities(KEPT)
    kernel.allow_no_new_privileges()


def can_become_another() -> bool:
    """Whether children of this process can be made another user's."""
    return kernel.get_capabilities() >= BECOMING_ANOTHER
