"""The way out of the sandboxes, where it leads over a proxy of this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

INSIDE_AUTHORITY = Path("/etc/threadbox-ca.pem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """A CONNECT proxy, and the certificate of the authority that vouches for what it answers itself."""

    proxy_url: str
    authority: Path

    def environment(self, *, namespaces: bool) -> Mapping[str, str]:
        """The variables by which programs in a sandbox find both."""
        return {
            "HTTPS_PROXY": self.proxy_url,
            "NO_PROXY": "127.0.0.1,localhost",
            "NODE_EXTRA_CA_CERTS": str(INSIDE_AUTHORITY if namespaces else self.authority),
        }

    def mounts(self) -> list[str]:
        """Bubblewrap's options that bring the certificate into a sandbox."""
        return ["--ro-bind", str(self.authority), str(INSIDE_AUTHORITY)]
