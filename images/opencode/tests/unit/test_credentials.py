"""The credentials in use, and what others make of auth.json meanwhile."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import rmtree

import pytest
from identity_provider import eventually

from sandboxd.agent_home import AgentHome
from sandboxd.auth_file import AuthFile, AuthFileError
from sandboxd.codex import Entry
from sandboxd.credentials import Credentials

pytestmark = pytest.mark.anyio
LOOK_SECONDS = 0.01


def entry(name: str) -> Entry:
    return {"type": "oauth", "access": f"access-{name}", "refresh": f"refresh-{name}", "expires": 1}


@pytest.fixture
def file(tmp_path: Path) -> AuthFile:
    return AuthFile(AgentHome(workspace=tmp_path, home=tmp_path, uid=0, gid=0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".local" / "share" / "opencode" / "auth.json"


@pytest.fixture
def credentials(file: AuthFile) -> Credentials:
    """Version 5 is in use."""
    credentials = Credentials(file)
    credentials.put(entry("5"), 5)
    return credentials


def write(path: Path, name: str) -> None:
    """As OpenCode does: in place."""
    path.write_text(json.dumps({"openai": entry(name)}))


async def until(condition: Callable[[], bool]) -> None:
    """Let the guard go on until it has done what nobody tells."""
    await asyncio.to_thread(eventually, condition, seconds=10)


@asynccontextmanager
async def guarded(credentials: Credentials) -> AsyncIterator[None]:
    """Meanwhile the guard runs."""
    task = asyncio.create_task(credentials.guard(every=LOOK_SECONDS))
    try:
        yield
    finally:
        task.cancel()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)


def test_credentials_are_in_a_new_home_too(credentials: Credentials, file: AuthFile, path: Path) -> None:
    """They are written before OpenCode has ever run; for its owner's eyes only, all the way."""
    assert (file.read(), credentials.version, credentials.in_use) == (entry("5"), 5, True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {0o700} == {directory.stat().st_mode & 0o777 for directory in list(path.parents)[:3]}


PUT, REMOVE = "put", "remove"


@pytest.mark.parametrize(
    ("calls", "held"),
    [
        ([], 5),
        ([(PUT, 6)], 6),
        ([(PUT, 5)], 5),
        ([(PUT, 4)], 5),
        ([(PUT, 7), (PUT, 6)], 7),
        ([(REMOVE, 5)], None),
        ([(REMOVE, 6), (PUT, 5)], None),
        ([(REMOVE, 6), (PUT, 6)], None),
        ([(REMOVE, 6), (PUT, 7)], 7),
        ([(REMOVE, None), (PUT, 5)], None),
        ([(REMOVE, None), (PUT, 6)], 6),
        ([(REMOVE, None), (REMOVE, None), (PUT, 5)], None),
        ([(REMOVE, 8), (REMOVE, 6), (PUT, 7)], None),
        # A removal that comes late removes; what it did not know of may then come again.
        ([(REMOVE, 4)], None),
        ([(REMOVE, 4), (PUT, 4)], None),
        ([(REMOVE, 4), (PUT, 5)], 5),
    ],
)
def test_what_is_newer_counts(
    credentials: Credentials, file: AuthFile, calls: Sequence[tuple[str, int | None]], held: int | None
) -> None:
    """In whatever order calls arrive; the file says the same as memory."""
    for what, version in calls:
        if what == PUT:
            credentials.put(entry(str(version)), version or 0)
        else:
            in_use = credentials.in_use
            assert credentials.remove(version) is in_use

    assert (credentials.version, file.read()) == (held, None if held is None else entry(str(held)))
    assert credentials.in_use is (held is not None)


def emptied(path: Path) -> None:
    path.write_text("")


def truncated(path: Path) -> None:
    path.write_text('{"openai":{"ty')


def deleted(path: Path) -> None:
    path.unlink()


def deleted_with_its_directory(path: Path) -> None:
    rmtree(path.parents[2])


def without_the_entry(path: Path) -> None:
    path.write_text("{}")


def of_another_account(path: Path) -> None:
    write(path, "foreign")


def with_one_more_field(path: Path) -> None:
    path.write_text(json.dumps({"openai": entry("5") | {"enterpriseUrl": "https://elsewhere.example"}}))


def a_link_to_it(path: Path) -> None:
    path.rename(path.with_name("elsewhere.json"))
    path.symlink_to("elsewhere.json")


def a_directory(path: Path) -> None:
    path.unlink()
    (path / "with" / "something").mkdir(parents=True)


def closed_to_the_agent(path: Path) -> None:
    path.chmod(0)


def open_to_others(path: Path) -> None:
    path.chmod(0o644)


def no_number(path: Path) -> None:
    path.write_text(json.dumps({"openai": entry("5"), "other": float("nan")}))


def another_encoding(path: Path) -> None:
    path.write_text(json.dumps({"openai": entry("5")}), encoding="utf-16")


def too_large(path: Path) -> None:
    path.write_text(json.dumps({"openai": entry("5")}) + " " * 300_000 + "x")


TAMPERING = (
    emptied,
    truncated,
    deleted,
    deleted_with_its_directory,
    without_the_entry,
    of_another_account,
    with_one_more_field,
    a_link_to_it,
    a_directory,
    closed_to_the_agent,
    open_to_others,
    no_number,
    another_encoding,
    too_large,
)


@pytest.mark.parametrize("tamper", TAMPERING)
def test_what_is_in_use_is_put_back(
    credentials: Credentials, file: AuthFile, path: Path, tamper: Callable[[Path], None]
) -> None:
    """Whatever OpenCode would make of what lies there; and once is enough."""
    tamper(path)

    assert credentials.restore()
    assert (file.read(), credentials.version) == (entry("5"), 5)
    assert (path.is_symlink(), path.stat().st_mode & 0o777) == (False, 0o600)
    before = path.stat().st_ino
    assert credentials.restore()
    assert path.stat().st_ino == before


@pytest.mark.parametrize("tamper", [deleted, of_another_account, a_link_to_it])
def test_nothing_is_put_back_to_nothing(
    credentials: Credentials, file: AuthFile, path: Path, tamper: Callable[[Path], None]
) -> None:
    """Who is not connected, or not any more, does not become so by what lies in the file."""
    credentials.remove(None)
    tamper(path)

    assert credentials.restore()
    assert (file.read(), credentials.version) == (None, None)


async def test_guard_looks_by_itself(credentials: Credentials, file: AuthFile, path: Path) -> None:
    """Again and again, also at a file that was left alone for a while; removed and newer credentials are no damage."""
    async with guarded(credentials):
        write(path, "foreign")
        await until(lambda: file.read() == entry("5"))
        await until(lambda: file.stamp() is not None)
        write(path, "foreign")
        await until(lambda: file.read() == entry("5"))
        credentials.put(entry("6"), 6)
        deleted(path)
        await until(lambda: file.read() == entry("6"))
        credentials.remove(None)
        write(path, "foreign")
        await until(lambda: file.read() is None)


def test_file_that_cannot_be_put_back_is_told_of_once(
    credentials: Credentials, file: AuthFile, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever depends on it hears each time; it works again when it can."""
    path.parent.rename(tmp_path / "moved")
    path.parent.symlink_to(tmp_path / "moved")
    with caplog.at_level(logging.WARNING):
        assert [credentials.restore() for _ in range(3)] == [False] * 3
        with pytest.raises(AuthFileError):
            credentials.put(entry("6"), 6)
        path.parent.unlink()
        assert credentials.restore()

    assert (len(caplog.records), credentials.version, file.read()) == (1, 5, entry("5"))


def test_removed_credentials_stay_removed_though_the_file_cannot_be_written(
    credentials: Credentials, file: AuthFile, path: Path, tmp_path: Path
) -> None:
    """The caller is told, and they are gone as soon as it can."""
    path.parent.rename(tmp_path / "moved")
    path.parent.symlink_to(tmp_path / "moved")
    with pytest.raises(AuthFileError):
        credentials.remove(5)
    path.parent.unlink()
    (tmp_path / "moved").rename(path.parent)
    restored = credentials.restore()

    assert (restored, credentials.version, file.read()) == (True, None, None)


async def test_approval_is_read_before_the_file_is_put_back(
    credentials: Credentials, file: AuthFile, path: Path
) -> None:
    """OpenCode writes it in place: what is there for a moment is nothing to go by, nor is what was there before."""
    write(path, "foreign")
    async with guarded(credentials):
        with credentials.awaiting_approval(lambda: True):
            before = file.read()
            truncated(path)
            reading = asyncio.create_task(credentials.read_approved())
            await asyncio.wait((reading,), timeout=10 * LOOK_SECONDS)
            write(path, "approved")
            prompt = credentials.restore()
            approved = await reading

    assert (before, prompt, approved) == (entry("5"), True, entry("approved"))
    assert (file.read(), credentials.version) == (entry("5"), 5)


async def test_what_nobody_waits_for_any_more_is_a_change_like_others(
    credentials: Credentials, file: AuthFile, path: Path
) -> None:
    """It is undone before OpenCode's wait ends, though the guard has been looking on all the time."""
    looks = 0
    wanted = True

    def is_wanted() -> bool:
        nonlocal looks
        looks += 1
        return wanted

    async with guarded(credentials):
        with credentials.awaiting_approval(is_wanted):
            write(path, "approved too late")
            await until(lambda: file.stamp() is not None)
            before = looks
            await until(lambda: looks > before + 1)
            left = file.read()
            wanted = False
            await until(lambda: file.read() == entry("5"))

    assert left == entry("approved too late")


async def test_newer_credentials_do_not_write_over_an_approval(
    credentials: Credentials, file: AuthFile, path: Path
) -> None:
    """They come when it is read; as long as there is none, at once."""
    with credentials.awaiting_approval(lambda: True):
        credentials.put(entry("6"), 6)
        at_once = file.read()
        write(path, "approved")
        credentials.put(entry("7"), 7)
        approved = await credentials.read_approved()

    assert (at_once, approved) == (entry("6"), entry("approved"))
    assert (file.read(), credentials.version) == (entry("7"), 7)


async def test_approval_into_a_file_that_cannot_be_read_is_none(credentials: Credentials, path: Path) -> None:
    """The wait for it is bounded."""
    with credentials.awaiting_approval(lambda: True):
        emptied(path)

        assert await credentials.read_approved() is None
