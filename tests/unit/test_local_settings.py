"""Settings and the command line."""

import pytest

from local.stack.__main__ import main
from local.stack.layout import Layout
from local.stack.settings import Settings
from local.stack.stack_file import StackFile


def test_what_is_empty_is_not_set(monkeypatch):
    """
    ``MODEL_BASE_URL= make up`` is the demo model.
    """
    monkeypatch.setenv("MODEL_BASE_URL", "")
    monkeypatch.setenv("THREADBOX_PORT_BASE", "23000")

    settings = Settings()

    assert settings.model_base_url is None
    assert settings.threadbox_port_base == 23000


def test_a_wrong_setting_is_named(monkeypatch, capsys):
    """
    In words, not in a stack trace.
    """
    monkeypatch.setenv("THREADBOX_PORT_BASE", "many")

    assert main(["status"]) == 2
    assert "THREADBOX_PORT_BASE" in capsys.readouterr().err


def test_a_stack_that_is_not_up_has_no_status(monkeypatch, tmp_path, capsys):
    """
    Nor logs, nor tokens; that is said and the exit code tells it.
    """
    monkeypatch.setenv("THREADBOX_STATE", str(tmp_path))

    for command in (["status"], ["logs"], ["token", "--thread", "t", "--user", "u"]):
        assert main(command) == 1
        told = capsys.readouterr()
        assert "not up" in told.out + told.err


@pytest.mark.parametrize("ttl", ["0", "901", "-1"])
def test_a_token_lives_at_most_fifteen_minutes(ttl):
    """
    The command refuses what the functions would.
    """
    with pytest.raises(SystemExit):
        main(["token", "--thread", "t", "--user", "u", "--ttl", ttl])


def test_another_state_directory_is_another_stack(tmp_path):
    """
    Its stack.json lies in it, and its processes carry another mark.
    """
    default, other = Layout.of(None), Layout.of(tmp_path)

    assert default.stack_file.name == other.stack_file.name
    assert other.stack_file.parent == tmp_path
    assert default.mark != other.mark


def test_stack_file_of_another_version_counts_as_none(tmp_path):
    """A stack that was brought up before a change of what is told of it can still be brought down."""
    path = tmp_path / "stack.json"
    path.write_text('{"http_url": "http://127.0.0.1:1"}')
    assert StackFile.find(path) is None
