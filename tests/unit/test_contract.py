"""What is written down for others: the HTTP API and the errors."""

import json

from local.contract import errors, openapi
from tests.stacks import ROOT


def test_every_function_with_routes_is_in_the_document():
    """A new function's application cannot be forgotten."""
    modules = {f"{path.parent.name}.app" for path in (ROOT / "functions").glob("*/src/*/app.py")}
    source = (ROOT / "local" / "contract" / "openapi.py").read_text()

    assert modules
    assert [] == [module for module in modules if f"from {module} import create_app" not in source]
    assert {f"{app.title.removeprefix('Threadbox ')}.app" for app in openapi.apps()} == modules


def test_all_but_two_routes_take_a_token():
    """Whether the functions answer, and the way back from the provider, are for everybody."""
    document = json.loads(openapi.document())
    operations = [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]
    public = {path for path, operation in operations if "security" not in operation}

    assert {"/health", "/api/sandbox/opencode-oauth/redirect"} == public


def test_every_route_fails_in_the_one_shape():
    """Whatever the status, the body is the same."""
    document = json.loads(openapi.document())
    shapes = {
        operation["responses"][kind]["content"]["application/json"]["schema"]["$ref"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for kind in ("4XX", "5XX")
    }
    assert {"#/components/schemas/ErrorBody"} == shapes


def test_table_has_every_code_with_its_status():
    """A kind of error has a row with code, HTTP status and what it means."""
    rows = [line.strip("| ").split(" | ") for line in errors.document().splitlines() if line.startswith("| `")]
    rows += [line.strip("| ").split(" | ") for line in errors.document().splitlines() if line.startswith("| ·")]
    table = {code.strip("· `"): (int(status), meaning) for code, status, meaning in rows}

    assert (409, "The state of things does not allow it.") == table["conflict"]
    assert 502 == table["model_rate_limited"][0]
    assert 500 == table["internal"][0]
    assert all(meaning.endswith(".") for _, meaning in table.values())
