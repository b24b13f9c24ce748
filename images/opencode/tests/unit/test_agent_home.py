"""Where the agent lives."""

import json
from pathlib import Path

import pytest

from sandboxd.agent_home import AgentHome


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return AgentHome(workspace=tmp_path / "workspace", home=tmp_path / "home", uid=0, gid=0)


def test_directories_are_made_for_the_owner_alone(home: AgentHome) -> None:
    """And once they are there, preparing them again changes nothing."""
    home.prepare()
    package = home.home / ".config" / "opencode" / "package.json"
    package.write_text('{"dependencies": {"mine": "1"}}')
    home.prepare()

    assert (home.workspace.stat().st_mode & 0o777, home.home.stat().st_mode & 0o777) == (0o700, 0o700)
    assert json.loads(package.read_text()) == {"dependencies": {"mine": "1"}}


def test_the_plugin_package_is_led_to_where_there_is_one(tmp_path: Path) -> None:
    """The agent's tools find it without a network; without one a placeholder spares OpenCode the attempt."""
    packages = tmp_path / "packages"
    (packages / "@opencode-ai" / "plugin").mkdir(parents=True)
    for name, given in (("with", packages), ("without", tmp_path / "nowhere")):
        directory = tmp_path / name
        AgentHome(workspace=directory, home=directory / "home", uid=0, gid=0, packages=given).prepare()

    found = {name: tmp_path / name / "home" / ".config" / "opencode" / "node_modules" for name in ("with", "without")}
    assert (found["with"] / "@opencode-ai" / "plugin").is_dir()
    assert not list(found["without"].iterdir())


def test_nothing_is_written_through_links_the_agent_left(home: AgentHome, tmp_path: Path) -> None:
    """A restored home is the agent's work; root must not follow where it points."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (home.home / ".config").mkdir(parents=True)
    (home.home / ".config" / "opencode").symlink_to(elsewhere)
    home.prepare()

    assert not list(elsewhere.iterdir())


def test_the_environment_is_composed(home: AgentHome) -> None:
    """Of sandboxd's own only what helps to find programs and to read time and text."""
    own = {"PATH": "/opt/bin", "TZ": "UTC", "SANDBOXD_CALL_KEYS": "{}", "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/root"}
    environment = home.environment(own)

    assert (environment["PATH"], environment["TZ"], environment["HOME"]) == ("/opt/bin", "UTC", str(home.home))
    assert environment.keys() & {"SANDBOXD_CALL_KEYS", "AWS_SECRET_ACCESS_KEY"} == set()


def test_an_operators_way_out_is_the_agents_too(home: AgentHome) -> None:
    """A proxy and its authority, for everything but what is inside."""
    outward = {"HTTPS_PROXY": "http://proxy:3128", "NODE_EXTRA_CA_CERTS": "/etc/ca.pem"}
    environment = home.environment({**outward, "NO_PROXY": ".internal,localhost", "HTTP_PROXY": "http://user:secret@x"})

    assert environment.items() >= outward.items()
    assert environment["NO_PROXY"] == ".internal,localhost,127.0.0.1"
    assert home.environment({})["NO_PROXY"] == "127.0.0.1,localhost"
    assert "HTTP_PROXY" not in environment
