"""How far a sandbox is kept away from the rest of this machine, and what is then left open."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.ecs.image import (
    AGENT,
    INSIDE_HOME,
    INSIDE_OPENCODE,
    INSIDE_SANDBOXD,
    INSIDE_WORKSPACE,
    SANDBOXD,
    Image,
)
from local.stack.marks import VARIABLE

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETPCAP", "SETUID")
"""Of those that Fargate grants by default, the ones that running commands as another user takes."""

SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ca-certificates.conf", "/etc/hosts", "/etc/ld.so.cache",
    "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/nsswitch.conf", "/etc/protocols",
    "/etc/resolv.conf", "/etc/services", "/etc/ssl",
)  # fmt: skip
"""What a program needs of the system, wherever a distribution has it."""

PROBE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this machine allows."""

    namespaces: bool
    """Bubblewrap works, so a sandbox gets mounts, processes and IPC of its own."""
    root: bool
    """The stack runs as root, so the agent can be a user of its own."""

    @classmethod
    def probe(cls) -> "Isolation":
        """Try what a sandbox would use."""
        root = os.geteuid() == 0
        return cls(namespaces=_bubblewrap_works(root=root), root=root)

    def second_user(self, image: Image, directory: Path) -> bool:
        """Whether the agent can be a user other than the one sandboxd runs as."""
        if not self.root:
            return False
        parts = (image.opencode, image.python.resolve(), image.source / "sandboxd", directory)
        return self.namespaces or all(_open_to_all(part) for part in parts)

    def protection(self, image: Image, directory: Path) -> list[str]:
        """In plain words, what a sandbox here is *not* kept from."""
        gaps = ["Sandboxes share this machine's network: their code reaches what listens on localhost."]
        if not self.namespaces:
            gaps.append(
                "Sandboxes see this machine's files and processes as the user who started them does. "
                "Install bubblewrap (package: bubblewrap) to change that."
            )
        if not self.second_user(image, directory):
            gaps.append(
                "The agent's commands run as the same user as sandboxd, which only hides its memory from them: "
                "they can end it. As root with bubblewrap they get a user of their own."
            )
        gaps.append("Sandboxes have no limit on memory, processors or disk.")
        return gaps


def bubblewrap(image: Image, directory: Path, *, root: bool, info_fd: int) -> list[str]:
    """Bubblewrap's options for a sandbox that has the image's file system and namespaces of its own."""
    options = [
        "--die-with-parent", "--new-session", "--info-fd", str(info_fd),
        "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "sandbox",
        *_folders("/etc", "/home", "/opt", "/opt/opencode", "/opt/opencode/bin", "/opt/sandboxd"),
        *_system(),
        "--proc", "/proc", "--dev", "/dev",
        "--ro-bind", str(directory / "etc" / "passwd"), "/etc/passwd",
        "--ro-bind", str(directory / "etc" / "group"), "/etc/group",
        "--bind", str(directory / "tmp"), "/tmp",  # noqa: S108 - a folder of the sandbox's own
        "--bind", str(directory / "workspace"), str(INSIDE_WORKSPACE),
        "--bind", str(directory / "home"), str(INSIDE_HOME),
        "--ro-bind", str(image.environment), str(INSIDE_SANDBOXD / ".venv"),
        "--ro-bind", str(image.source), str(INSIDE_SANDBOXD / "src"),
        "--ro-bind", str(image.opencode), str(INSIDE_OPENCODE),
        "--chdir", str(INSIDE_WORKSPACE), "--unsetenv", VARIABLE,
    ]  # fmt: skip
    for prefix in image.interpreter_prefixes():
        if not prefix.is_relative_to("/usr"):
            # What packs and unpacks the workspace runs as the agent, in sandboxd's interpreter.
            options += _folders(*(str(place) for place in reversed(prefix.parents) if place != Path("/")))
            options += ["--ro-bind", str(prefix), str(prefix)]
    return options + _privileges(root=root)


def prepare(directory: Path, *, agent_owns: bool) -> None:
    """Make a sandbox's folders, and the list of users it sees."""
    for name in ("workspace", "home", "tmp", "etc"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "tmp").chmod(0o1777)
    (directory / "home").chmod(0o700)
    (directory / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\n"
        f"sandboxd:x:{SANDBOXD}:{SANDBOXD}:sandboxd:/nonexistent:/usr/sbin/nologin\n"
        f"agent:x:{AGENT}:{AGENT}:agent:{INSIDE_HOME}:/bin/sh\n"
    )
    (directory / "etc" / "group").write_text(f"root:x:0:\nsandboxd:x:{SANDBOXD}:\nagent:x:{AGENT}:\n")
    if agent_owns:
        for name in ("workspace", "home"):
            os.chown(directory / name, AGENT, AGENT)


def places(image: Image, directory: Path, *, namespaces: bool) -> Mapping[str, str]:
    """Where sandboxd finds its parts, as it sees the file system."""
    if namespaces:
        home, source = INSIDE_HOME, INSIDE_SANDBOXD / "src"
        workspace, opencode = INSIDE_WORKSPACE, INSIDE_OPENCODE
    else:
        home, source = directory / "home", image.source
        workspace, opencode = directory / "workspace", image.opencode
    return {
        "HOME": str(home),
        "PYTHONPATH": str(source),
        "SANDBOXD_HOME": str(home),
        "SANDBOXD_WORKSPACE": str(workspace),
        "SANDBOXD_OPENCODE": str(opencode),
    }


def _folders(*names: str) -> list[str]:
    # Bubblewrap makes folders on the way to a mount for their owner alone, and the agent is not their owner.
    return [argument for name in names for argument in ("--perms", "0755", "--dir", name)]


def _system() -> list[str]:
    arguments = []
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink() and path.parent == Path("/"):
            arguments += ["--symlink", str(path.readlink()), name]
        elif path.exists():
            arguments += ["--ro-bind", name, name]
    return arguments


def _privileges(*, root: bool) -> list[str]:
    if not root:
        return ["--unshare-user", "--uid", str(AGENT), "--gid", str(AGENT)]
    arguments = ["--cap-drop", "ALL"]
    for capability in CAPABILITIES:
        arguments += ["--cap-add", f"CAP_{capability}"]
    return arguments


def _bubblewrap_works(*, root: bool) -> bool:
    # A bwrap that is installed may still be forbidden its namespaces, as in an unprivileged container.
    if shutil.which("bwrap") is None:
        return False
    command = ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--ro-bind", "/", "/", "--proc", "/proc"]
    try:
        probe = subprocess.run(
            [*command, "--dev", "/dev", *_privileges(root=root), "--", "true"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


def _open_to_all(path: Path) -> bool:
    """Whether every user may go to *path* and execute (or enter) it."""
    try:
        return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))
    except FileNotFoundError:
        return False
