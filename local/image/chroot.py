"""
Commands in a directory that holds a system, as in a container: as process 1 of their own, with what Docker and Fargate
grant root by default. The network is this machine's.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

GRANTED = (
    "audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service", "net_raw",
    "setfcap", "setgid", "setpcap", "setuid", "sys_chroot",
)  # fmt: skip
"""The capabilities of a container that asks for none."""
DROPPED = ("audit_write", "fsetid", "mknod", "net_bind_service", "net_raw", "setfcap", "setpcap", "sys_chroot")
"""What the task definition takes away of them."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
SOURCES = Path("/etc/apt")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

# $1: the directory; $2: the capabilities; the rest: the command. What is mounted goes with the mount namespace.
ENTER = """
set -e
root=$1 granted=$2; shift 2
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir -m 1777 "$root/dev/shm"
for file in /etc/resolv.conf /etc/hosts; do
    [ -e "$root$file" ] || touch "$root$file"
    mount --bind "$file" "$root$file"
done
exec chroot "$root" /usr/bin/setpriv --bounding-set="$granted" --inh-caps=-all -- "$@"
"""
UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")


def why_not() -> str | None:
    """Why a Debian chroot cannot be made on this machine, in words; None if it can."""
    if os.geteuid() != 0:
        return "only root can make a chroot"
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed (package: mmdebstrap)"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None


def entering(root: Path, command: Sequence[str], *, granted: Sequence[str] = GRANTED) -> list[str]:
    """The command that runs *command* in there as process 1."""
    capabilities = ",".join(("-all", *(f"+{name}" for name in granted)))
    return [*UNSHARE, "sh", "-c", ENTER, "enter", str(root), capabilities, *command]


def joining(pid: int, command: Sequence[str], *, granted: Sequence[str] = GRANTED) -> list[str]:
    """The command that runs *command* beside process *pid* of such a directory, as ``docker exec`` does."""
    capabilities = ",".join(("-all", *(f"+{name}" for name in granted)))
    inside = ("/usr/bin/setpriv", f"--bounding-set={capabilities}", "--inh-caps=-all", "--", *command)
    return ["nsenter", f"--target={pid}", "--mount", "--pid", "--root", "--wd", *inside]


def debootstrap(root: Path) -> None:
    """
    Make a minimal Debian like the image's base, from the mirror that this machine's apt uses.

    Raises:
        subprocess.CalledProcessError: it could not be made; what it wrote is in the error.

    """
    mirror = mirror_of(SOURCES)
    security = mirror.removesuffix("/debian") + "/debian-security"
    sources = "\n".join(
        (
            f"deb {mirror} {SUITE} main",
            f"deb {mirror} {SUITE}-updates main",
            f"deb {security} {SUITE}-security main",
        )
    )
    # As Debian's own slim image leaves them out.
    excluded = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
    options = [f"--dpkgopt=path-exclude={path}" for path in excluded]
    options += [f"--aptopt={option}" for option in apt_options()]
    subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io", *options,
         SUITE, str(root), "-"],
        input=sources, text=True, check=True, capture_output=True,
    )  # fmt: skip


def mirror_of(apt: Path) -> str:
    """The first mirror of Debian that the sources in this directory name; Debian's own if they name none."""
    for file in sorted((*apt.glob("sources.list"), *apt.glob("sources.list.d/*"))):
        for found in re.finditer(r"https?://\S+", re.sub(r"(?m)^\s*#.*$", "", file.read_text())):
            if found[0].rstrip("/").endswith("/debian"):
                return found[0].rstrip("/")
    return MIRROR


def apt_options() -> list[str]:
    """How this machine's apt reaches its mirrors, and how old it lets their lists be."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    wanted = r'(?m)^(?:Acquire::(?:Check-Valid-Until|Check-Date|https?::[Pp]roxy\S*)) "[^"]+";$'
    return [line.rstrip(";") for line in re.findall(wanted, dump)]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a container's commands find in their environment."""
    return {"PATH": PATH, "HOME": "/root", **more}
