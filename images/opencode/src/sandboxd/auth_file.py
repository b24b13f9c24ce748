"""
OpenCode's auth.json, of which one provider's entry is read, put back and removed.

It lies where the agent may write, and sandboxd may be root: no symbolic link is followed on the way to it, and it is
never written in place.
"""

import contextlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator

from sandboxd.agent_home import AgentHome
from sandboxd.codex import AUTH_FILE, PROVIDER, Entry

FILE_BYTES = 256 * 1024
MODE = 0o600
TICK_SECONDS = 1.0
"""Far more than the tick of the clock that files are dated by: two changes may fall into one."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class AuthFileError(Exception):
    """The file cannot be read now (OpenCode writes it in place), or cannot be written."""


class AuthFile:
    """The provider's entry in the file; the other entries stay as they are."""

    def __init__(self, home: AgentHome) -> None:
        self._home = home
        *self._directories, self._name = (*home.data.relative_to(home.home).parts, *AUTH_FILE)

    def read(self) -> Entry | None:
        """
        Return the entry, None if there is none.

        Raises:
            AuthFileError: it cannot be told now.
        """
        entry = self._read_all()[0].get(PROVIDER)
        if entry is None or isinstance(entry, dict):
            return entry
        raise AuthFileError("not an entry")

    def put(self, entry: Entry | None) -> bool:
        """
        Make *entry* the provider's, or remove it; at once or not at all, as a file of the agent's user only.

        Return whether that took a change.

        Raises:
            AuthFileError: it cannot be written.
        """
        try:
            content, private = self._read_all()
        except AuthFileError:
            content, private = {}, False
        if private and content.get(PROVIDER) == entry:
            return False
        content = {name: other for name, other in content.items() if name != PROVIDER}
        if entry is not None:
            content[PROVIDER] = entry
        try:
            with self._directory(make=True) as directory:
                self._replace(directory, json.dumps(content).encode())
        except OSError as exc:
            raise AuthFileError(f"cannot be written: {exc.strerror}") from exc
        return True

    def stamp(self) -> tuple[int, ...] | None:
        """Return what tells a change of the file without reading it; None when only reading can tell."""
        try:
            with self._directory() as directory:
                found = os.stat(self._name, dir_fd=directory, follow_symlinks=False)
        except OSError:
            return None
        if time.time() - found.st_ctime < TICK_SECONDS:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns

    def _read_all(self) -> tuple[Entry, bool]:
        """All entries, and whether the file is closed to other users."""
        try:
            with self._directory() as directory:
                # A pipe in its place must not hold sandboxd up.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(self._name, flags, dir_fd=directory)
                with os.fdopen(descriptor, "rb") as file:
                    mode = os.fstat(descriptor).st_mode
                    if not stat.S_ISREG(mode):
                        raise AuthFileError("not a file")
                    content = _parse(file.read(FILE_BYTES + 1))
        except FileNotFoundError:
            return {}, True
        except OSError as exc:
            raise AuthFileError(f"cannot be read: {exc.strerror}") from exc
        except (ValueError, RecursionError):
            # Without its cause, whose text may repeat a token.
            raise AuthFileError("not JSON") from None
        if not isinstance(content, dict):
            raise AuthFileError("not a JSON object")
        return content, stat.S_IMODE(mode) == MODE

    def _replace(self, directory: int, content: bytes) -> None:
        fresh = f".{self._name}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, MODE, dir_fd=directory), "wb") as file:
            try:
                if self._home.second_user:
                    os.fchown(file.fileno(), self._home.uid, self._home.gid)
                file.write(content)
                file.flush()
                try:
                    os.replace(fresh, self._name, src_dir_fd=directory, dst_dir_fd=directory)
                except IsADirectoryError:
                    os.rename(self._name, f"{fresh}.directory", src_dir_fd=directory, dst_dir_fd=directory)
                    os.replace(fresh, self._name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(fresh, dir_fd=directory)
                raise

    @contextlib.contextmanager
    def _directory(self, *, make: bool = False) -> Iterator[int]:
        """The directory of the file, opened step by step: each must be one, not a link to one. *make* those missing."""
        at = os.open(self._home.home, _DIRECTORY)
        try:
            for name in self._directories:
                if make:
                    self._make(name, at)
                below = os.open(name, _DIRECTORY, dir_fd=at)
                os.close(at)
                at = below
            yield at
        finally:
            os.close(at)

    def _make(self, name: str, at: int) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=at)
            if self._home.second_user:
                os.chown(name, self._home.uid, self._home.gid, dir_fd=at, follow_symlinks=False)


def _parse(text: bytes) -> object:
    """As strict as OpenCode's own parser: what only this one could read would not do there."""
    if len(text) > FILE_BYTES:
        raise ValueError("too large")
    return json.loads(text.decode(), parse_constant=_refuse)


def _refuse(_: str) -> None:
    raise ValueError("not a number")
