"""What is depended on is named in docs/dependencies.md, with a reason."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dependencies.md").read_text()
OURS = {"threadbox", "chat", "oauth-proxy", "sandbox-ctl"}
PROJECTS = ["pyproject.toml", *(str(p.relative_to(ROOT)) for p in ROOT.glob("*/*/pyproject.toml"))]
PACKAGES = ["images/opencode", "webapp", "tests/browser/apps/assistant", "tests/browser/apps/older"]


def named(package: str) -> bool:
    """Whether a row of a table names it, as a word of its own."""
    first_cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| ")]
    return any(re.search(rf"(?<![\w@/-]){re.escape(package)}(?![\w/-])", cell) for cell in first_cells)


def python_packages(project: str) -> set[str]:
    """Those that a project asks for itself."""
    content = tomllib.loads((ROOT / project).read_text())
    asked = [*content["project"].get("dependencies", []), *content.get("dependency-groups", {}).get("dev", [])]
    asked += content.get("build-system", {}).get("requires", [])
    return {re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower() for requirement in asked} - OURS


@pytest.mark.parametrize("project", PROJECTS)
def test_python_packages_are_named(project):
    """Of the workspace, the layer, the functions, the image and the local stack."""
    assert [] == [package for package in sorted(python_packages(project)) if not named(package)]


@pytest.mark.parametrize("place", PACKAGES)
def test_npm_packages_are_named(place):
    """Of the image, the page, and the apps in the tests."""
    content = json.loads((ROOT / place / "package.json").read_text())
    asked = {**content.get("dependencies", {}), **content.get("optionalDependencies", {})}
    asked |= content.get("devDependencies", {})
    assert [] == [package for package in sorted(asked) if not named(package)]


def test_debians_packages_are_named():
    """Those that a bare machine gets before everything is run on it."""
    asked = (ROOT / ".ci" / "packages.txt").read_text().split()
    assert [] == [package for package in asked if not named(package)]


def test_a_package_that_is_not_there_is_not_found():
    """Part of a name is not the name."""
    assert (True, False, False) == (named("moto"), named("mot"), named("leftpad"))
