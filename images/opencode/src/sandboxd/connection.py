"""Whether OpenCode works with the provider: what that takes beside credentials in auth.json."""

import contextlib
import logging
from collections.abc import Iterator

import httpx

from sandboxd import codex
from sandboxd.auth_file import AuthFileError
from sandboxd.codex import Entry
from sandboxd.contract import Access
from sandboxd.credentials import Credentials
from sandboxd.errors import OpenCodeError
from sandboxd.maintenance import Maintenance
from sandboxd.patience import in_time
from sandboxd.supervisor import Supervisor

logger = logging.getLogger(__name__)


class Connection:
    """
    Connects and disconnects the provider.

    OpenCode reads credentials anew on every model request, but that there are any, or none any more, it learns only at
    its start or by a dispose, for which it has to be idle (measured, opencode 1.18.33).
    """

    def __init__(self, *, credentials: Credentials, supervisor: Supervisor, maintenance: Maintenance) -> None:
        self._credentials = credentials
        self._supervisor = supervisor
        self._maintenance = maintenance
        self._known: bool | None = False
        """What OpenCode takes the provider for: connected or not; None: it is yet to learn that."""
        self._default_model: str | None = None

    @property
    def default_model(self) -> str | None:
        """The provider's default model, ``provider/id``, while it is connected and OpenCode knows it."""
        return self._default_model if self._credentials.in_use else None

    async def wait_known(self, seconds: float) -> None:
        """Return when OpenCode knows whether it is connected, or when *seconds* have passed."""
        if self._known is None:
            await in_time(self._maintenance.settled(), seconds)

    def prepare(self, access: Access | None) -> None:
        """
        Write what OpenCode is to start with, and nothing else of the provider, whatever was left there.

        Raises:
            OpenCodeError: auth.json cannot be written.
        """
        with _writing():
            if access is None:
                self._credentials.remove(None)
            else:
                self._credentials.put(access.entry(), access.version)
        self._known = self._credentials.in_use

    async def started(self, client: httpx.AsyncClient) -> None:
        """
        Ask OpenCode for the default model of what it started with.

        Raises:
            OpenCodeError: it does not take the provider for connected.
        """
        if self._known:
            self._default_model = await codex.default_model(client)
            if self._default_model is None:
                raise OpenCodeError("OpenCode does not know of the credentials it started with")

    def put(self, entry: Entry, version: int) -> int | None:
        """
        Use *entry*, unless the version is an old one; return the version in use.

        Raises:
            OpenCodeError: auth.json cannot be written.
        """
        with self._changing(), _writing():
            self._credentials.put(entry, version)
        return self._credentials.version

    def remove(self, version: int | None) -> bool:
        """
        Use none, and none that is not newer than *version*; return whether there were any.

        Raises:
            OpenCodeError: auth.json cannot be written.
        """
        with self._changing(), _writing():
            return self._credentials.remove(version)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Have OpenCode learn of it if there are credentials now and were none, or the other way round."""
        before = self._credentials.in_use
        try:
            yield
        finally:
            if self._credentials.in_use != before:
                self._known = None
                self._maintenance.want(self._reload, needless=lambda: self._known is not None)

    async def _reload(self) -> None:
        self._credentials.restore()
        connected = self._known = self._credentials.in_use
        self._default_model = None
        opencode = await self._supervisor.dispose("provider connected" if connected else "provider disconnected")
        if opencode is not None and connected:
            try:
                self._default_model = await codex.default_model(opencode.client)
            except OpenCodeError as exc:
                logger.warning("no default model: %s", exc)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except AuthFileError as exc:
        raise OpenCodeError(f"auth.json {exc}") from exc
