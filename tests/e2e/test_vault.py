"""A connection that outlives its containers, with the real OpenCode on the shared stack."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import boto3
import pytest
from boto3.dynamodb.conditions import Key

from local.stack.stack_file import StackFile
from tests.e2e.signing_in import SigningIn
from tests.stacks import ROOT

CODEX = "openai/"


@pytest.fixture(scope="module")
def connected(stack: StackFile, token) -> Iterator[SigningIn]:
    """A thread that was signed in."""
    with closing(SigningIn(stack, token)) as signing_in:
        signing_in.connect()
        yield signing_in


def answered_by(signing_in: SigningIn, text: str) -> str:
    """Ask, and return the model that answered, or the code of the error."""
    with signing_in.thread.tab() as tab:
        answer = tab.answer(tab.ask(f"say {text}"))
    if answer.outcome == "error":
        return str(answer.last["code"])
    assert text in answer.text
    return str(signing_in.thread.messages()[-1]["metadata"]["model"])


def test_connection_outlives_the_container(connected):
    """A further sandbox is lent from the vault before its OpenCode starts: its first prompt is Codex's."""
    assert answered_by(connected, "first").startswith(CODEX)
    generation = connected.restart()

    assert answered_by(connected, "second").startswith(CODEX)
    assert connected.thread.sandbox()["generation"] > generation
    assert (True, False) == (connected.codex()["connected"], connected.codex()["reconnect_required"])


def test_command_seals_what_is_not_current(connected, stack, stack_state):
    """It goes through the whole table, says how far it is, and leaves alone what is under the current key."""
    table = boto3.resource("dynamodb", endpoint_url=stack.aws_url).Table(stack.outputs["TableName"])
    key = {"thread_id": connected.thread.name, "sk": "GRANT#openai"}
    before = table.get_item(Key=key)["Item"]
    state = {} if stack_state == ROOT / ".local" / "stack" else {"THREADBOX_STATE": str(stack_state)}
    command = [sys.executable, "-m", "operate.reseal", "--env", "local"]
    done = subprocess.run(
        command, env=os.environ | state, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert 0 == done.returncode, done.stderr
    assert re.search(r"sealed anew 0, current already [1-9]\d*, unreadable 0$", done.stdout.strip())
    assert before == table.get_item(Key=key)["Item"]


def test_row_that_was_changed_starts_nothing(connected, stack):
    """One byte of it: the answer ends with the code, no task runs, the row stays; mended, it is as before."""
    table = boto3.resource("dynamodb", endpoint_url=stack.aws_url).Table(stack.outputs["TableName"])
    key = {"thread_id": connected.thread.name, "sk": "GRANT#openai"}
    sealed = table.get_item(Key=key)["Item"]["sealed"]
    connected.restart()

    def store(ciphertext: bytes) -> None:
        table.update_item(
            Key=key,
            UpdateExpression="SET sealed.ciphertext = :ciphertext",
            ExpressionAttributeValues={":ciphertext": ciphertext},
        )

    whole = bytes(sealed["ciphertext"])
    store(bytes([whole[0] ^ 1]) + whole[1:])
    assert "vault_unreadable" == answered_by(connected, "nothing")
    refused = connected.http.post(f"/api/sandbox/{connected.thread.name}")
    assert (503, "vault_unreadable") == (refused.status_code, refused.json()["code"])
    assert "stopped" == connected.thread.sandbox()["state"]

    store(whole)
    assert answered_by(connected, "mended").startswith(CODEX)


@pytest.mark.long
def test_disconnect_ends_it_everywhere(stack, token):
    """In the sandbox, in the vault and at the provider; the next answer is another model's."""
    with closing(SigningIn(stack, token)) as signing_in:
        signing_in.connect()
        assert answered_by(signing_in, "here").startswith(CODEX)
        grant = signing_in.journal("responses")[-1]["grant_id"]
        assert {"ok": True, "removed": True} == signing_in.http.delete(signing_in.path).json()

        assert [("ok", grant)] == [
            (entry["outcome"], entry["grant_id"])
            for entry in signing_in.journal("revoke")
            if entry["grant_id"] == grant
        ]
        assert "default/demo" == answered_by(signing_in, "gone")
        signing_in.restart()
        assert "default/demo" == answered_by(signing_in, "still gone")


def test_deleted_thread_leaves_no_grant(stack, token):
    """Revoked as well, and its row is gone with the others."""
    table = boto3.resource("dynamodb", endpoint_url=stack.aws_url).Table(stack.outputs["TableName"])
    with closing(SigningIn(stack, token)) as signing_in:
        signing_in.connect()
        before = len(signing_in.journal("revoke"))
        removed = signing_in.http.delete(f"/api/threads/{signing_in.thread.name}").json()["removed"]
        assert 1 == removed["grants"]
        assert "ok" == signing_in.journal("revoke")[before]["outcome"]
        assert 0 == table.query(KeyConditionExpression=Key("thread_id").eq(signing_in.thread.name))["Count"]
