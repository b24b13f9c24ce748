"""Installing: when, when not, and after an interruption."""

import os
from pathlib import Path

import pytest

from local.stack import layout as layout_module
from local.stack.installs import CommandFailedError, Install
from local.stack.layout import Layout, fingerprint


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A checkout with one input."""
    monkeypatch.setattr(layout_module, "CHECKOUT", tmp_path)
    (tmp_path / "input").write_text("1")
    return tmp_path


@pytest.fixture
def layout(checkout) -> Layout:
    """The places of its default stack."""
    return Layout.of(checkout / ".local" / "stack")


def make(checkout: Path, *commands: str) -> Install:
    """An install that runs shell commands in the checkout and makes the file ``result``."""
    return Install(
        name="thing", inputs=(checkout / "input",), result=checkout / "result", directory=checkout,
        commands=tuple(("sh", "-c", command) for command in commands), environment=os.environ,
    )  # fmt: skip


def test_it_is_done_once_until_its_inputs_change(checkout, layout):
    """
    A second time does nothing; a changed input, or a result that somebody deleted, does it again.
    """
    install = make(checkout, "echo done >> result")

    install.do(layout)
    install.do(layout)
    assert (checkout / "result").read_text() == "done\n"

    (checkout / "input").write_text("2")
    install.do(layout)
    assert (checkout / "result").read_text() == "done\ndone\n"

    (checkout / "result").unlink()
    install.do(layout)
    assert (checkout / "result").read_text() == "done\n"


def test_an_interrupted_one_is_done_again(checkout, layout):
    """
    The result of a command that failed half-way does not count, even if an earlier one had succeeded.
    """
    make(checkout, "echo whole > result").do(layout)
    (checkout / "input").write_text("2")

    with pytest.raises(CommandFailedError, match="halt"):
        make(checkout, "echo half > result", "echo halt; exit 1").do(layout)
    assert not make(checkout, "echo whole > result").is_done(layout.tools)


def test_a_fingerprint_is_of_what_somebody_wrote(checkout):
    """
    What tools leave beside the sources does not count; a name, a content and the right to execute do.
    """
    source = checkout / "source"
    source.mkdir()
    (source / "one.py").write_text("1")
    prints = [fingerprint(source)]

    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "one.pyc").write_text("made")
    assert fingerprint(source) == prints[0]

    (source / "one.py").chmod(0o755)
    prints.append(fingerprint(source))
    (source / "one.py").rename(source / "two.py")
    prints.append(fingerprint(source))
    assert len(set(prints)) == 3
