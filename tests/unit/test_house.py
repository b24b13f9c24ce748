"""Rules of the house that no linter knows."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked(*patterns):
    listing = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listing.stdout.splitlines()]


def functions(path):
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_every_test_says_its_behaviour():
    """A test has a docstring."""
    silent = [
        f"{path.relative_to(ROOT)}: {function.name}"
        for path in tracked("tests/**/test_*.py", "images/opencode/tests/**/test_*.py")
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert [] == silent


def test_no_test_sleeps():
    """Tests wait for what happens, not for time to pass."""
    sleeping = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("tests/**/*.py", "images/opencode/tests/**/*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "time.sleep(" in line or ("asyncio.sleep(" in line and "asyncio.sleep(0)" not in line)
        if path != Path(__file__)
    ]
    assert [] == sleeping


@pytest.mark.parametrize("package", ["chat", "oauth_proxy", "sandbox_ctl"])
def test_only_the_handler_reads_the_environment_and_builds_clients(package):
    """Everything else gets what it needs as arguments, and can be imported with an empty environment."""
    offenders = [
        path.name
        for path in tracked(f"functions/{package}/src/**/*.py")
        if path.name != "handler.py"
        and any(word in path.read_text() for word in ("os.environ", "boto3.client", "boto3.resource", "Settings()"))
    ]
    assert [] == offenders


def test_layer_never_imports_a_function():
    """What is shared does not know who shares it."""
    imports = [
        (path.name, name)
        for path in tracked("layers/common/src/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        if name.split(".")[0] in {"chat", "oauth_proxy", "sandbox_ctl"}
    ]
    assert [] == imports
