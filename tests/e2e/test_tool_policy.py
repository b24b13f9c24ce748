"""What each tool policy lets the agent do on the deployed stack, and from when on it does."""

import pytest

# Sandboxes start their OpenCode anew, several times.
pytestmark = pytest.mark.long


def choose(thread, policy):
    """Choose a policy as the web app does."""
    answer = thread.http.post(f"/agents/chat/{thread.name}/tool-policy", json={"policy": policy})
    assert (200, {"policy": policy}) == (answer.status_code, answer.json())


def done(thread, text):
    """Ask, and return the tools that were called, and all that came of it; nothing may be asked for."""
    with thread.tab() as tab:
        answer = tab.answer(tab.ask(text))
    assert "completed" == answer.outcome
    assert "tool-approval-request" not in answer.kinds()
    return [
        chunk["toolName"] for chunk in answer.chunks if chunk["type"] == "tool-input-available"
    ], f"{answer.text} {answer.chunks}"


def test_policies_take_effect_with_the_next_turn(thread):
    """Working as ever, then looking only, then nothing, then working again: in one thread, in one sandbox."""
    assert {"policy": "read-write"} == thread.http.get(f"/agents/chat/{thread.name}/tool-policy").json()
    assert ["write", "bash"] == done(thread, "write hello.py and run it")[0]

    choose(thread, "read-only")
    tools, told = done(thread, "read hello.py")
    assert (["read"], True) == (tools, "Hello from hello.py" in told)
    for refused in ("run: ls -la", "write other.py and run it"):
        tools, told = done(thread, refused)
        assert ([], True) == (tools, "not offered" in told)

    choose(thread, "none")
    for refused in ("run: ls -la", "read hello.py", "write other.py and run it"):
        assert [] == done(thread, refused)[0]

    choose(thread, "read-write")
    tools, told = done(thread, "run: ls")
    assert (["bash"], True, False) == (tools, "hello.py" in told, "other.py" in told)
    assert 1 == thread.sandbox()["generation"]


def test_sandbox_begins_with_the_policy_chosen_before(thread):
    """From its first turn on."""
    choose(thread, "none")
    assert [] == done(thread, "run: ls -la")[0]


def test_turn_under_way_is_left_alone(thread):
    """It ends as it would have; the one behind it comes under the new policy."""
    done(thread, "say fine")
    with thread.tab() as tab:
        request = tab.ask("run: sleep 3; echo over")
        tab.until("tool-input-available")
        choose(thread, "none")
        answer = tab.answer(request)
    assert ("completed", True) == (answer.outcome, "over" in answer.text)
    assert [] == done(thread, "run: ls -la")[0]


@pytest.mark.parametrize("body", [{}, {"policy": "everything"}])
def test_what_is_no_policy_is_refused(thread, body):
    """As any other malformed body is."""
    answer = thread.http.post(f"/agents/chat/{thread.name}/tool-policy", json=body)
    assert (422, "invalid_request") == (answer.status_code, answer.json()["code"])


def test_nobody_else_chooses(thread, token):
    """Nor looks."""
    stranger = {"Authorization": f"Bearer {token(thread.name, 'bob')}"}
    assert "read-write" == thread.http.get(f"/agents/chat/{thread.name}/tool-policy").json()["policy"]
    for method, body in (("GET", None), ("POST", {"policy": "none"})):
        answer = thread.http.request(method, f"/agents/chat/{thread.name}/tool-policy", json=body, headers=stranger)
        assert (403, "forbidden") == (answer.status_code, answer.json()["code"])
