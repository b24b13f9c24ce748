"""The local certificate authority, which lets this machine's OpenCode take the local provider for the real one."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

CERTIFICATE = "ca.pem"
KEY = "ca-key.pem"


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority whose certificate is in a file, for those who shall trust it."""

    ca: trustme.CA
    certificate: Path

    @classmethod
    def of(cls, directory: Path) -> "Authority":
        """The one in that directory: programs that run trust it, so it is made only once."""
        directory.mkdir(parents=True, exist_ok=True)
        certificate, key = directory / CERTIFICATE, directory / KEY
        if not (certificate.exists() and key.exists()):
            ca = trustme.CA(organization_name="Threadbox, on this machine only")
            write(key, ca.private_key_pem.bytes(), mode=0o600)
            write(certificate, ca.cert_pem.bytes(), mode=0o644)
        return cls(trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes()), certificate)

    def server_context(self, *hosts: str) -> ssl.SSLContext:
        """For a server that speaks as those hosts."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*hosts).configure_cert(context)
        # HTTP/2 is nothing that the server behind it speaks.
        context.set_alpn_protocols(["http/1.1"])
        return context


def secret_key(directory: Path, name: str) -> bytes:
    """A random key that is kept in that directory, readable by its owner alone."""
    path = directory / name
    if not path.exists():
        write(path, os.urandom(32), mode=0o600)
    return path.read_bytes()


def write(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file in one move, never readable by more than its mode says."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123 - by descriptor
        file.write(content)
    draft.replace(path)
