"""What a part's program is made of."""

from pathlib import Path

import pytest

from local.stack import layout, parts
from local.stack.layout import Layout
from local.stack.ports import Ports
from local.stack.settings import Settings


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A package in which ``one`` imports ``two``, which imports ``three``; ``four`` stands alone."""
    folder = tmp_path / "local"
    folder.mkdir()
    (folder / "one.py").write_text("from local.two import name\n")
    (folder / "two.py").write_text("from local import three\n")
    (folder / "three.py").write_text("")
    (folder / "four.py").write_text("")
    monkeypatch.setattr(parts, "LOCAL", folder)
    monkeypatch.setattr(layout, "CHECKOUT", tmp_path)
    return folder


def test_a_program_is_its_module_and_what_that_imports(package):
    """
    A change two steps away counts; one in a module that it does not use does not.
    """
    before = parts.program("one")

    (package / "four.py").write_text("changed = True\n")
    assert parts.program("one") == before
    (package / "three.py").write_text("changed = True\n")
    assert parts.program("one") != before


def test_parts_know_nothing_of_the_developers_environment(tmp_path, monkeypatch):
    """
    Neither credentials nor settings pass by accident.
    """
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    place, ports, settings = Layout.of(tmp_path), Ports(21000), Settings()

    started = (parts.ecs(place, ports, settings), parts.idp(place, ports, settings))
    for part in (parts.aws(place, ports, settings), parts.gateway(place, ports), parts.model(place, ports), *started):
        assert "canary" not in part.environment.values()
        assert part.environment["HOME"].startswith(str(tmp_path))
