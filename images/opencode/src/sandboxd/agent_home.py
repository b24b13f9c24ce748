"""The directories the agent lives in, and the user it lives as."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from sandboxd.own_user import can_become_another

LOOPBACK = ("127.0.0.1", "localhost")
_OUTWARD = ("HTTPS_PROXY", "NODE_EXTRA_CA_CERTS")
_SCOPE = "@opencode-ai"
_PLUGIN = {f"{_SCOPE}/plugin": "*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentHome:
    """
    Workspace, home and user of the agent. ``uid`` 0 means it runs as sandboxd's own user.

    *packages* is the node_modules directory with OpenCode's plugin package, if there is one.
    """

    workspace: Path
    home: Path
    uid: int
    gid: int
    packages: Path | None = None

    @property
    def second_user(self) -> bool:
        """Whether the agent can be another user than sandboxd: that takes the right to, and a user to become."""
        return self.uid != 0 and can_become_another()

    def prepare(self) -> None:
        """
        Make the directories and hand them to the agent's user.

        OpenCode installs ``@opencode-ai/plugin`` from npm into its configuration directory at each start, unless that
        looks installed already: the three entries written here spare it the network. Where the package is at hand the
        agent's own tools can import it; what it imports itself is found beside where it really lies.
        """
        config = self.home / ".config" / "opencode"
        for directory in (self.workspace, self.home, self.home / ".config", config):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._hand_over(directory)
        # A home that was lived in may lead elsewhere by symbolic links, where root must not write for the agent.
        if config.resolve() != self.home.resolve() / ".config" / "opencode" or (config / "node_modules").exists():
            return
        (config / "node_modules").mkdir()
        self._hand_over(config / "node_modules")
        if self.packages is not None and (self.packages / _SCOPE / "plugin").is_dir():
            (config / "node_modules" / _SCOPE).symlink_to(self.packages / _SCOPE)
        for name, content in (
            ("package.json", {"dependencies": _PLUGIN}),
            ("package-lock.json", {"lockfileVersion": 3, "packages": {"": {"dependencies": _PLUGIN}}}),
        ):
            with (config / name).open("x") as file:
                json.dump(content, file)
            self._hand_over(config / name)

    def _hand_over(self, path: Path) -> None:
        if self.second_user:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    @property
    def data(self) -> Path:
        """Where the agent's programs keep their data."""
        return self.home / ".local" / "share"

    @property
    def database(self) -> Path:
        """Where OpenCode keeps its sessions (measured, opencode 1.18.33)."""
        return self.data / "opencode" / "opencode.db"

    def environment(self, own: dict[str, str]) -> dict[str, str]:
        """
        The environment of everything that runs as the agent: of sandboxd's *own* only what is harmless.

        An operator's way out (a proxy, its authority) is the agent's too; what is inside is never asked for out there.
        """
        direct = [*filter(None, own.get("NO_PROXY", "").split(",")), *LOOPBACK]
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            **{name: own[name] for name in ("PATH", "LANG", "TZ") if name in own},
            **{name: own[name] for name in _OUTWARD if name in own},
            "NO_PROXY": ",".join(dict.fromkeys(direct)),
            "HOME": str(self.home),
            "USER": "agent",
            "LOGNAME": "agent",
            "SHELL": "/bin/bash",
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.data),
            "XDG_STATE_HOME": str(self.home / ".local" / "state"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
        }
