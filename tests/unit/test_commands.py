"""Every command in the documentation is run by something, or says that it needs AWS (docs/commands.md)."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md", *sorted((ROOT / "docs").glob("*.md"))]
TABLE = ROOT / "docs" / "commands.md"
# What a line begins with that is a command, and no drawing or output.
PROGRAMS = ("make", "docker", "npm", "python", ".venv/bin/pytest", "aws", "curl")
ROW = re.compile(r"^\| `([^`]+)` \| (.+) \|$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("", "sh", "shell")
INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )*make [^`]*|make)`")
SETTING = re.compile(r"[A-Za-z_]+=")
TARGET = re.compile(r"^([a-z-]+):.*?## ", re.MULTILINE)


def rows() -> dict[str, str]:
    """What proves each command."""
    return dict(ROW.findall(TABLE.read_text()))


def words(line: str) -> list[str]:
    """A command's words, without what is set for it and what is said about it."""
    try:
        found = shlex.split(line, comments=True)
    except ValueError:
        found = line.split()
    while found and SETTING.match(found[0]):
        found.pop(0)
    return found


def commands(page: Path) -> list[list[str]]:
    """The commands of a page, in blocks and in sentences."""
    text = page.read_text()
    blocks = [line for kind, block in FENCE.findall(text) if kind in SHELL for line in block.splitlines()]
    found = [words(line) for line in (*blocks, *INLINE.findall(FENCE.sub("", text)))]
    return [command for command in found if command and command[0] in PROGRAMS]


def proof(command: list[str]) -> str | None:
    """What stands beside the longest row that the command begins with."""
    known = {tuple(name.split()): by for name, by in rows().items()}
    for length in range(len(command), 0, -1):
        if (by := known.get(tuple(command[:length]))) is not None:
            return by
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_in_the_table(page):
    """So that somebody has said what proves it."""
    assert [] == [" ".join(command) for command in commands(page) if proof(command) is None]


def test_pages_have_commands():
    """Otherwise the test above would pass over everything."""
    found = {tuple(command[:2]) for page in PAGES for command in commands(page)}
    assert {("make", "up"), ("make", "test"), ("make", "rollout"), ("make", "deploy")} <= found


def test_every_target_is_in_the_table_and_no_other():
    """The Makefile and the table name the same."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text())) | {"tools"}
    named = {name.split()[1] for name in rows() if name.startswith("make ")}
    assert targets == named


@pytest.mark.parametrize(("command", "by"), rows().items(), ids=list(rows()))
def test_what_proves_a_command_is_there(command, by):
    """A file of tests, or the check of everything; or a word for why there is none."""
    path = re.fullmatch(r"`([^`]+)`", by)
    if path is None:
        assert re.match(r"(AWS|reader)\b", by), command
        return
    assert (ROOT / path[1]).is_file()


def test_targets_run_modules_that_are_there():
    """And `make help` lists each with a word of its own."""
    makefile = (ROOT / "Makefile").read_text()
    for module in re.findall(r"\$\(PY\) -m ((?:operate|local)[\w.]*|bench)", makefile):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target} " in listed for target in TARGET.findall(makefile))


def test_operators_pages_say_what_needs_aws():
    """Where the commands that need an account are introduced, the page says so."""
    assert "It takes an account" in (ROOT / "docs" / "deploy.md").read_text()
