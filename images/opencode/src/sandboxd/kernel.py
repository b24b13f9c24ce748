"""The few Linux process controls Python has no name for (prctl, capget, capset)."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Collection
from enum import IntEnum
from pathlib import Path

OOM_SCORE = 500
"""As if it used half of the memory there is, beyond what it uses."""
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class Capability(IntEnum):
    """The numbers of capabilities(7), those that sandboxd has a use for."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    KILL = 5
    SETGID = 6
    SETUID = 7


def make_undumpable() -> None:
    """Close this process's memory, environment and descriptors to other processes of the same user."""
    _prctl(_PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Make descendants whose parent died children of this process, as they are of a container's process 1."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """In a fresh child, after its change of user (which would undo it): be killed when *parent* dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def children() -> list[int]:
    """
    Process ids of the children of a process with a single thread, or of what the first of several threads started.

    Those that ended are among them until they are waited for, so that no id can have become another process's.
    """
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


def end_first_without_memory(pid: int) -> None:
    """
    Where memory runs out, have the kernel end *pid*, or what that starts, before this process.

    They can take that back for themselves, but not get behind this process at the same size.
    """
    # Gone already, or nobody may tell the kernel here: then size alone decides.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))


def keep_capabilities_through_change_of_user() -> None:
    """Have this process's permitted capabilities survive its next change from root to another user (not an exec)."""
    _prctl(_PR_SET_KEEPCAPS, 1)


def allow_no_new_privileges() -> None:
    """Have no exec of this process or its descendants ever add privileges: set-user-id bits mean nothing to them."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def get_capabilities() -> frozenset[Capability]:
    """What of ``Capability`` is in effect for this thread."""
    data = (_CapabilitySets * 2)()
    _check(_libc.capget(ctypes.byref(_CapabilityHeader(_CAPABILITY_VERSION_3, 0)), data))
    return frozenset(each for each in Capability if data[0].effective & 1 << each)


def set_capabilities(capabilities: Collection[Capability]) -> None:
    """
    Hold these, permitted and in effect, and no others; give none to what is executed.

    Raises:
        OSError: one of them is not held.
    """
    _set_capabilities(capabilities, inheritable=())


def give_capabilities_to_exec(capabilities: Collection[Capability]) -> None:
    """
    Hold these and no others, and have the program that this process executes next hold them, too.

    Raises:
        OSError: one of them is not held.
    """
    _set_capabilities(capabilities, inheritable=capabilities)
    for each in capabilities:
        _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, int(each), 0, 0))


def _set_capabilities(held: Collection[Capability], *, inheritable: Collection[Capability]) -> None:
    masks = [sum(1 << each for each in set(some)) for some in (held, inheritable)]
    data = (_CapabilitySets * 2)(_CapabilitySets(masks[0], masks[0], masks[1]))
    _check(_libc.capset(ctypes.byref(_CapabilityHeader(_CAPABILITY_VERSION_3, 0)), data))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, value, 0, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
