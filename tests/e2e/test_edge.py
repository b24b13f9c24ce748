"""One address for both APIs, as clients of the Agents SDK expect it."""

from urllib.parse import urlencode

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.chat_client import ChatClient


def socket_url(stack, path, **query):
    return f"{stack.edge_url.replace('http', 'ws')}{path}?{urlencode(query)}"


def test_thread_is_talked_to_and_read_at_one_address(stack, thread):
    """The socket's path names the thread; the history lies below it."""
    path = f"/agents/chat/{thread.name}"
    with ChatClient.at(socket_url(stack, path, token=thread.token, _pk="a")) as tab:
        answer = tab.answer(tab.ask("say hello from the edge"))
    history = httpx.get(f"{stack.edge_url}{path}/get-messages", params={"token": thread.token}, timeout=30)

    assert ("completed", "hello from the edge") == (answer.outcome, answer.text)
    assert ["user", "assistant"] == [message["role"] for message in history.json()]
    assert 200 == httpx.get(f"{stack.edge_url}/health", timeout=30).status_code


@pytest.mark.parametrize("query", [{}, {"token": "garbage"}], ids=["no token", "a bad one"])
def test_socket_is_refused_as_at_its_own_address(stack, thread, query):
    """The path alone opens nothing."""
    with (
        pytest.raises(InvalidStatus) as refused,
        ChatClient.at(socket_url(stack, f"/agents/chat/{thread.name}", **query)),
    ):
        pass
    assert 401 == refused.value.response.status_code


def test_query_cannot_name_another_thread(stack, thread):
    """A token for one thread does not open the socket of another, whichever of the two stands where."""
    query = {"thread": thread.name, "token": thread.token}
    with pytest.raises(InvalidStatus) as refused, ChatClient.at(socket_url(stack, "/agents/chat/another", **query)):
        pass
    assert 403 == refused.value.response.status_code
