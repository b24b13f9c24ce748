"""A sandbox that takes nothing any more: nothing was asked of it, and whoever asked asks for another one."""

import asyncio

import httpx
import pytest

from chat.opencode import OpenCodeClient, SilentError
from oauth_proxy.sandbox import SandboxSilentError, SigninClient
from threadbox.control import Access
from threadbox.errors import OpenCodeError

ACCESS = Access(url="http://sandbox:4096", token="t", expires_in=900, generation=1, session_id="ses_1")


def answering(status, code):
    return httpx.MockTransport(lambda _: httpx.Response(status, json={"code": code, "message": "no"}))


@pytest.mark.parametrize("code", ["ending", "not_ready"])
def test_prompt_that_was_not_taken_was_not_asked(code):
    """So it may be asked anew, of this sandbox or of the next one; any other refusal is one."""

    async def ask(status):
        async with httpx.AsyncClient(transport=answering(status, code)) as http:
            await OpenCodeClient(http=http).prompt(ACCESS, part_id="prt_1", text="hi")

    with pytest.raises(SilentError):
        asyncio.run(ask(503))
    with pytest.raises(OpenCodeError) as refused:
        asyncio.run(ask(500))
    assert not isinstance(refused.value, SilentError)


def test_sign_in_is_begun_in_the_next_one():
    """The sandbox is suspected, as one that does not answer is."""
    client = SigninClient(http=httpx.Client(transport=answering(503, "ending")))
    with pytest.raises(SandboxSilentError):
        client.start(ACCESS, "a1", method=1, seconds=60, patience=1)
