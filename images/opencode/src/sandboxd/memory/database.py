"""OpenCode's database: copied by SQLite itself while OpenCode writes, never as files."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

BUSY_SECONDS = 5
SIDES = ("", "-wal", "-shm")


class DatabaseError(Exception):
    """The database cannot be copied, or is none."""


def copy_database(source: Path, target: Path) -> None:
    """
    Copy the database at one moment of its life into one file.

    Raises:
        DatabaseError: SQLite cannot do that.
    """
    try:
        # Not mode=ro: whoever reads what a killed OpenCode left has to recover it first.
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True, timeout=BUSY_SECONDS)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as exc:
        raise DatabaseError(f"the database cannot be copied: {exc}") from exc


def check_database(path: Path) -> None:
    """
    See that a restored database is one.

    Raises:
        DatabaseError: it is not.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as exc:
        raise DatabaseError(f"it is no database: {exc}") from exc
    if found != "ok":
        raise DatabaseError("the database is damaged")


def database_mark(path: Path) -> tuple[int, ...]:
    """What is another after each write to the database; no more than a look at its files."""
    mark: list[int] = []
    for side in SIDES[:2]:
        try:
            status = path.with_name(path.name + side).lstat()
        except OSError:
            mark += (0, 0, 0)
        else:
            mark += (status.st_ino, status.st_size, status.st_mtime_ns)
    return tuple(mark)
