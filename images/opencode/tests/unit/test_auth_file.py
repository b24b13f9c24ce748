"""OpenCode's auth.json, where the agent may have put something else."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from sandboxd.agent_home import AgentHome
from sandboxd.auth_file import AuthFile, AuthFileError

ENTRY = {"type": "oauth", "access": "a", "refresh": "r", "expires": 1}
OTHER = {"type": "api", "key": "k"}
AGENT = 61_234


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return AgentHome(workspace=tmp_path / "workspace", home=tmp_path / "home", uid=AGENT, gid=AGENT)


@pytest.fixture
def path(home: AgentHome) -> Path:
    directory = home.data / "opencode"
    directory.mkdir(parents=True)
    return directory / "auth.json"


def test_entry_comes_and_goes_and_others_stay(home: AgentHome, path: Path) -> None:
    """The file is OpenCode's: only the provider's entry is sandboxd's business."""
    path.write_text(json.dumps({"other": OTHER}))
    file = AuthFile(home)

    assert file.read() is None
    file.put(ENTRY)
    assert (file.read(), json.loads(path.read_text())) == (ENTRY, {"other": OTHER, "openai": ENTRY})
    file.put(None)
    assert (file.read(), json.loads(path.read_text())) == (None, {"other": OTHER})
    assert [entry.name for entry in path.parent.iterdir()] == ["auth.json"]


def test_only_the_agents_user_may_read_it(home: AgentHome, path: Path) -> None:
    """However it was before; sandboxd may be another user."""
    path.write_text("{}")
    path.chmod(0o644)
    AuthFile(home).put(ENTRY)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == (AGENT if os.geteuid() == 0 else os.geteuid())


def test_nothing_there_is_no_entry(home: AgentHome, tmp_path: Path) -> None:
    """OpenCode makes the directory when it needs it."""
    home.home.mkdir()

    assert AuthFile(home).read() is None


def test_nothing_is_written_where_nothing_changes(home: AgentHome, path: Path) -> None:
    """OpenCode may be about to write it itself."""
    path.write_text(json.dumps({"openai": ENTRY}))
    path.chmod(0o600)
    before = path.stat().st_ino

    assert AuthFile(home).put(ENTRY) is False
    assert path.stat().st_ino == before


def test_directories_are_made_for_the_agents_user(home: AgentHome) -> None:
    """OpenCode has never run; reading makes none."""
    home.home.mkdir()
    file = AuthFile(home)
    assert (file.read(), file.stamp(), list(home.home.iterdir())) == (None, None, [])
    assert file.put(ENTRY) is True

    made = [home.data.parent, home.data, home.data / "opencode"]
    owner = AGENT if os.geteuid() == 0 else os.geteuid()
    assert {(owner, 0o700)} == {(path.stat().st_uid, path.stat().st_mode & 0o777) for path in made}


def test_stamp_tells_a_change(home: AgentHome, path: Path) -> None:
    """Of a file that was just written there is none: the next change may fall into the same tick of the clock."""
    file = AuthFile(home)
    file.put(ENTRY)
    fresh = file.stamp()
    deadline = time.monotonic() + 10
    while (stamp := file.stamp()) is None:
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
    again = file.stamp()
    path.write_text("{}")

    assert (fresh, stamp == again, file.stamp() == stamp) == (None, True, False)


@pytest.mark.parametrize("content", ["", '{"openai":{"type":"oau', "[]", '{"openai":1}', "[" * 100_000, "\0"])
def test_half_written_file_is_no_entry_and_is_overwritten(home: AgentHome, path: Path, content: str) -> None:
    """OpenCode writes in place. The error does not repeat what it read."""
    path.write_text(content)
    file = AuthFile(home)

    with pytest.raises(AuthFileError) as error:
        file.read()
    file.put(ENTRY)
    assert error.value.__cause__ is None
    assert file.read() == ENTRY


def test_link_in_place_of_the_file_is_replaced_and_not_followed(home: AgentHome, path: Path, tmp_path: Path) -> None:
    """Root must not read or write for the agent what the agent could not."""
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"openai": ENTRY}))
    path.symlink_to(secret)
    file = AuthFile(home)

    with pytest.raises(AuthFileError):
        file.read()
    file.put(None)
    file.put({**ENTRY, "access": "b"})
    assert json.loads(secret.read_text()) == {"openai": ENTRY}
    assert not path.is_symlink()


def test_link_on_the_way_is_not_followed(home: AgentHome, path: Path, tmp_path: Path) -> None:
    """Any directory of its home may be a link to somewhere else."""
    elsewhere = tmp_path / "elsewhere"
    path.parent.rename(elsewhere)
    path.parent.symlink_to(elsewhere)
    file = AuthFile(home)

    with pytest.raises(AuthFileError):
        file.read()
    with pytest.raises(AuthFileError):
        file.put(ENTRY)
    assert list(elsewhere.iterdir()) == []


def test_pipe_in_its_place_holds_nothing_up(home: AgentHome, path: Path) -> None:
    """Reading one would wait for a writer."""
    os.mkfifo(path)

    with pytest.raises(AuthFileError):
        AuthFile(home).read()
