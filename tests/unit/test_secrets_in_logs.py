"""What is logged, counted and recorded holds no token, and nothing that a user or an agent wrote."""

import ast
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.unit.signing_in import SigningIn
from tests.unit.test_conversation import World
from threadbox.errors import VaultUnreadableError
from threadbox.vault import Binding, Opener

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("functions/*/src/*/*.py"), *ROOT.glob("layers/common/src/threadbox/*.py")]
NEVER = {
    "authorization",
    "body",
    "command",
    "content",
    "cookie",
    "env",
    "event",
    "headers",
    "key",
    "password",
    "prompt",
    "query",
    "secret",
    "stdin",
    "text",
    "token",
    "url",
}
"""What no field of a line may be called; nor may it end so."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_fields_of_lines_are_named_and_harmless(path):
    """Each is written out in the code, so that a reader sees all there is; the message is a constant."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if ast.unparse(node.func.value) != "logger" or node.func.attr not in {"info", "warning", "error", "exception"}:
            continue
        where = f"{path.name}:{node.lineno}"
        assert not any(isinstance(argument, ast.JoinedStr) for argument in node.args), where
        for keyword in node.keywords:
            name = keyword.arg or ""
            assert name.rpartition("_")[2] not in NEVER, f"{where}: {name}"


def test_handlers_never_log_their_event():
    """It has tokens: in its headers, or in the address of a socket."""
    for path in ROOT.glob("functions/*/src/*/handler.py"):
        assert "log_event" not in path.read_text()


def test_sign_in_puts_out_no_token(table, clock, output):
    """From its begin to the end of the connection, also when the vault fails."""
    signing_in = SigningIn(table, clock)
    signing_in.opens_socket()
    token = signing_in.token()
    signing_in.call("POST", "/oauth/authorize", token=token, json={"method": 1}).raise_for_status()
    signing_in.sandbox.status = "approved"
    signing_in.kms.failure = ClientError({"Error": {"Code": "ThrottlingException"}}, "GenerateDataKey")
    signing_in.step("wait")
    signing_in.kms.failure = None
    signing_in.step("wait")
    signing_in.call("DELETE", "", token=token)

    out = output()
    assert "signin ended" in out
    assert "VaultUnavailable" in out
    for secret in (token, token.rpartition(".")[2], "at_approved", "rt_approved"):
        assert secret not in out


def test_conversation_puts_out_nothing_that_was_said(table, clock, messages, cuts, output):
    """Neither question nor token; who is refused leaves a code."""
    world = World(table, clock, messages, cuts)
    world.connect("c1")
    world.ask("c1", "r1", text="canary of a question")
    world.send("c1", '{"type": "canary of a frame"')
    world.event("$connect", "c2", queryStringParameters={"thread": "t", "token": "canary-of-a-token"})

    out = output()
    assert "turn requested" in out
    assert "socket refused" in out
    assert "canary" not in out


def test_row_that_does_not_open_is_not_repeated(output, kms):
    """Its cause in a word."""
    binding = Binding(thread_id="t", owner="u", provider="openai", account_id="a", expires_at=1)
    with pytest.raises(VaultUnreadableError):
        Opener(kms=kms, unreadable=lambda: None).open({"ciphertext": b"canary"}, binding)

    assert "vault unreadable" in (out := output())
    assert "canary" not in out
