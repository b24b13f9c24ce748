"""What is OpenAI's: the ends of a wait for an approval, and what an entry of auth.json has to be."""

import httpx
import pytest
from pydantic import ValidationError

from sandboxd import codex
from sandboxd.codex import PLACEHOLDER, CallbackEnd, Entry, Grant, Method, borrowed

APPROVED: Entry = {"type": "oauth", "access": "a", "refresh": "r", "expires": 1_800_000_000_123, "accountId": "acct-1"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (httpx.Response(200, json=True), CallbackEnd.APPROVED),
        (httpx.Response(400, json={"name": "ProviderAuthOauthCallbackFailed", "data": {}}), CallbackEnd.DENIED),
        (httpx.Response(400, json={"name": "ProviderAuthOauthMissing", "data": {}}), CallbackEnd.FAILED),
        (httpx.Response(500, json={"name": "UnknownError"}), CallbackEnd.FAILED),
        (httpx.Response(200, json=None), CallbackEnd.FAILED),
        (httpx.Response(200, text="<!doctype html>"), CallbackEnd.FAILED),
    ],
)
async def test_ends_of_a_wait(answer: httpx.Response, end: CallbackEnd) -> None:
    """As OpenCode tells them."""
    transport = httpx.MockTransport(lambda _: answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://opencode") as client:
        assert await codex.callback(client, Method.DEVICE_CODE) is end


def test_what_is_borrowed_of_a_grant() -> None:
    """The access token and its real expiry; where the refresh token was it says who has that."""
    grant = Grant.model_validate(APPROVED)

    assert grant.borrowed() == {**APPROVED, "refresh": "held-by-the-control-plane"}
    assert "accountId" not in borrowed("a", expires=1, account_id=None)
    assert "'a'" not in repr(grant)
    assert "'r'" not in repr(grant)


@pytest.mark.parametrize(
    "changes",
    [{"refresh": PLACEHOLDER}, {"refresh": ""}, {"access": ""}, {"type": "api"}, {"expires": "soon"}, {"accountId": 1}],
)
def test_what_is_no_grant(changes: Entry) -> None:
    """An entry of ours, least of all; what is told of it repeats no token."""
    with pytest.raises(ValidationError) as error:
        Grant.model_validate({**APPROVED, "access": "canary", **changes})

    assert "canary" not in str(error.value)
