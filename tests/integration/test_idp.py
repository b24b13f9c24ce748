"""The local identity provider, as the real OpenCode finds it through the proxy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.providers import OpenCode, Provider, opencode, provider


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("idp"), "--access-seconds", "600") as running:
        yield running


@pytest.fixture(scope="module")
def code(idp: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenCode]:
    with opencode(tmp_path_factory.mktemp("opencode"), idp) as running:
        yield running


def said(message: dict) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def test_opencode_signs_in_by_device_code_and_gets_an_answer(idp: Provider, code: OpenCode, tmp_path: Path) -> None:
    """
    Code, approval, tokens, and a turn of a Codex model that uses a tool and thinks.
    """
    code.sign_in(idp)
    assert code.auth()["openai"]["accountId"] == idp.journal("oauth_token")[-1]["account_id"]

    assert "That was message 1" in said(code.ask("what a day"))
    assert "one two" in said(code.ask("run: echo one two"))
    thinking = code.ask("think aloud about boxes")
    assert "boxes" in next(part["text"] for part in thinking["parts"] if part["type"] == "reasoning")
    assert set(idp.outcomes("responses")) == {"ok"}
