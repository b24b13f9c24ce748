"""The two programs that pack and unpack, as children that run as the agent."""

import asyncio
import json
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from sandboxd.agent_home import AgentHome
from sandboxd.memory.archive import Limits
from sandboxd.memory.pack import REFUSED
from sandboxd.privileges import as_agent

logger = logging.getLogger(__name__)

REPORT_BYTES = 64 * 1024
SOURCE = Path(__file__).parents[2]


class PackingError(Exception):
    """It did not work, for a reason that is not the archive's."""


class RefusedError(PackingError):
    """What was to be packed exceeds a limit, or what was to be unpacked is no archive of ours."""


class Report(BaseModel):
    """What an archive holds; *size* is its own, *unreadable* what was left out because it could not be read."""

    model_config = ConfigDict(frozen=True)

    entries: int
    content: int
    size: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Packs and unpacks the agent's workspace and database."""

    home: AgentHome
    limits: Limits
    size: int
    """The largest archive, in bytes."""
    running: set[str] = field(default_factory=set)
    """The programs that run now. Their ends are waited for here, and must not be collected as orphans'."""

    async def pack(self, archive: BinaryIO) -> Report:
        """
        Write both into *archive*.

        Raises:
            RefusedError: it would exceed a limit, or the database cannot be copied.
            PackingError: the program failed.
        """
        return await self._run("pack", archive)

    async def unpack(self, archive: BinaryIO) -> Report:
        """
        Make both from *archive*, into places that are empty.

        Raises:
            RefusedError: it is no archive of ours; then they are empty again.
            PackingError: the program failed.
        """
        return await self._run("unpack", archive)

    def empty(self) -> bool:
        """Whether there is nothing in the places that are unpacked to."""
        return not self.home.database.exists() and not any(self.home.workspace.iterdir())

    async def _run(self, program: str, archive: BinaryIO) -> Report:
        archive.seek(0)
        self.running.add(program)
        try:
            return await self._finished(program, archive.fileno())
        finally:
            self.running.discard(program)

    async def _finished(self, program: str, descriptor: int) -> Report:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", f"sandboxd.memory.{program}"),
                *("--workspace", str(self.home.workspace), "--database", str(self.home.database)),
                *("--archive", str(descriptor), "--size", str(self.size)),
                *("--content", str(self.limits.content), "--entries", str(self.limits.entries)),
                cwd="/",
                env={"LANG": "C.UTF-8", "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                pass_fds=(descriptor,),
                **as_agent(self.home),
            )
        except OSError as exc:
            raise PackingError(f"{program} cannot be started: {exc.strerror}") from exc
        try:
            said, complained = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == REFUSED:
            raise RefusedError(_reason(said))
        if process.returncode != 0:
            logger.error(
                "%s ended with %s: %s", program, process.returncode, complained[-2000:].decode(errors="replace")
            )
            raise PackingError(f"{program} failed")
        try:
            return Report.model_validate_json(said[:REPORT_BYTES])
        except ValidationError as exc:
            raise PackingError(f"{program} does not say what it did") from exc


def _reason(said: bytes) -> str:
    try:
        return str(json.loads(said[:REPORT_BYTES])["refused"])[:200]
    except (ValueError, KeyError, TypeError):
        return "no reason given"
