"""
How a process of our own modules becomes the agent's user; ``privileges`` knows it for other programs.

It is started as sandboxd's user, so that neither interpreter nor module need be the agent's to read, with the
capabilities that this takes, and becomes the agent before it looks at anything of the agent's: then it has none.
Standard library only, and little of that.
"""

import os

from sandboxd import kernel

UMASK = 0o077


def become(uid: int, gid: int) -> None:
    """
    Be that user and group from now on, and nothing of who this process was. 0 means that there is no second user.

    Raises:
        OSError: this process may not become them.
    """
    os.umask(UMASK)
    if uid:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        # Root loses them with its id, another user does not.
        kernel.set_capabilities(())
