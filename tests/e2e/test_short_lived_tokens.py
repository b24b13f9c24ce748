"""
A stack whose access tokens live 20 s: what takes days elsewhere happens here in minutes.

The two long stories are lived side by side. What the provider fails in comes after them, and last everything that the
stack has written is searched for tokens.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from time import perf_counter, time

import pytest

from local.idp.tokens import JWT_PREFIX, REFRESH_PREFIX
from local.stack.aws_clients import client
from local.stack.layout import Layout
from local.stack.stack_file import StackFile
from sandbox_ctl.refresher import CLAIM_SECONDS
from tests.e2e.signing_in import SigningIn
from tests.e2e.traces import everything, found
from tests.e2e.victims import kill, workers
from tests.stacks import own_stack, stack_file, tokens_of
from tests.waiting import eventually

# With a stack of its own it does not disturb those that run alone on the shared one.
pytestmark = [pytest.mark.long, pytest.mark.own_stack, pytest.mark.timeout(900)]

LIFE = 20
TIMES = 20
STORY_SECONDS = 600
SAMPLES = 8
SLEEPS = " then run: ".join(["sleep 14"] * (TIMES + 2))
ACCESS = re.compile(re.escape(JWT_PREFIX).encode())
REFRESH = re.compile(re.escape(REFRESH_PREFIX).encode())


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Iterator[Path]:
    # Its users ask more within a minute than others may.
    with own_stack(tmp_path_factory.mktemp("short-lived"), {"TURNS_PER_MINUTE": "1000"}) as state:
        yield state


@pytest.fixture(scope="module")
def short(state) -> StackFile:
    return stack_file(state)


@pytest.fixture(scope="module")
def users(short) -> Iterator[list[SigningIn]]:
    """Two threads that were signed in, with tokens that live so long."""
    with ExitStack() as closing_all:
        users = [closing_all.enter_context(closing(SigningIn(short, tokens_of(short)))) for _ in range(2)]
        lives(users[0], LIFE)
        for user in users:
            assert user.connect()["connected"]
        yield users


@pytest.fixture(scope="module")
def stories(users) -> Iterator[dict[str, Future]]:
    with ThreadPoolExecutor(2) as pool:
        yield {"turn": pool.submit(works_on, users[0]), "starts": pool.submit(starts_anew, users[1])}


@pytest.fixture
def user(users, stories) -> SigningIn:
    """A user, once nobody else waits for the provider."""
    for story in stories.values():
        story.exception(STORY_SECONDS)
    return users[0]


def lives(user: SigningIn, seconds: int) -> None:
    user.idp.post("/settings", json={"access_seconds": seconds}).raise_for_status()


def grants(user: SigningIn) -> list[str]:
    """Return the outcomes of the provider's token endpoint for the refreshes of this user's last grant."""
    last = user.journal("responses")[-1]["grant_id"]
    return [
        entry["outcome"]
        for entry in user.journal("oauth_token")
        if (entry["grant_type"], entry["grant_id"]) == ("refresh_token", last)
    ]


def ask(user: SigningIn, text: str, *, seconds: float = 90):
    with user.thread.tab() as tab:
        return tab.answer(tab.ask(text), seconds=seconds)


def works_on(user: SigningIn) -> dict:
    """Work for minutes in one turn, each step of which asks the model anew."""
    answer = ask(user, f"run: {SLEEPS}", seconds=STORY_SECONDS)
    message = user.thread.messages()[-1]
    return {"answer": answer, "parts": message["parts"], "model": message["metadata"]["model"]}


def starts_anew(user: SigningIn) -> list:
    """Lose the container, come back when another token is due, and ask."""
    models = []
    for number in range(TIMES):
        user.restart()
        due = user.codex()["expires_at"] - LIFE // 4
        eventually(lambda due=due: time() >= due, seconds=2 * LIFE)
        answer = ask(user, f"say start {number}")
        models.append(user.thread.messages()[-1]["metadata"]["model"] if answer.text else answer.last)
    return models


def test_turn_goes_on_through_twenty_refreshes(users, stories):
    """No step fails for a token that ran out, and none is redeemed twice."""
    story = stories["turn"].result(STORY_SECONDS)
    assert "completed" == story["answer"].outcome, story["answer"].last
    done = [part for part in story["parts"] if part["type"] == "tool-bash" and part["state"] == "output-available"]
    assert TIMES + 2 == len(done)
    assert story["model"].startswith("openai/")


def test_twenty_containers_start_with_a_refresh_in_each(stories):
    """Each is lent a token that lives, before its OpenCode starts."""
    models = stories["starts"].result(STORY_SECONDS)
    assert TIMES == len([model for model in models if str(model).startswith("openai/")]), models


def test_no_refresh_token_was_used_twice(user, short):
    """The provider would have ended the grants; OpenCode itself never refreshed."""
    outcomes = [e["outcome"] for e in user.journal("oauth_token") if e["grant_type"] == "refresh_token"]
    refused = [e for e in user.journal("responses") if e["outcome"] != "ok"]
    assert (2 * TIMES, {"ok"}, []) == (min(2 * TIMES, len(outcomes)), set(outcomes), refused)


def test_what_a_turn_waits_for_a_refresh(user, short):
    """Once in a token's life, measured at sandbox_ctl's door; printed."""
    lives(user, 4)
    functions = client("lambda", short.aws_url)
    event = json.dumps({"operation": "ensure", "thread_id": user.thread.name, "scope": "turn"})

    def ensure() -> tuple[float, int]:
        began = perf_counter()
        answer = json.loads(functions.invoke(FunctionName="threadbox-sandbox-ctl", Payload=event)["Payload"].read())
        return (perf_counter() - began) * 1000, answer["access"]["codex"]["version"]

    ask(user, "say hello")
    plain, renewed = [], []
    _, version = ensure()
    while len(renewed) < SAMPLES:
        took, now = ensure()
        (plain if now == version else renewed).append(took)
        version = now
    lives(user, LIFE)
    print(  # noqa: T201 - it is measured here
        f"\nensure of sandbox_ctl, median: {median(plain):.0f} ms ({len(plain)} times), "
        f"with a refresh {median(renewed):.0f} ms ({SAMPLES} times)"
    )
    assert median(renewed) < 3000


def test_provider_that_is_down_past_the_tokens_end_is_told(user):
    """The answer ends with the code, the grant is kept, and goes on when the provider is back."""
    with user.fault("oauth_token", "down"):
        end = user.codex()["expires_at"]
        eventually(lambda: time() > end + 1, seconds=2 * LIFE)
        failed = ask(user, "say nothing").last
        assert "provider_unreachable" == failed["code"]
    assert user.codex()["connected"]

    def answered() -> bool:
        return ask(user, "say back").outcome == "completed"

    eventually(answered, seconds=60)
    assert user.thread.messages()[-1]["metadata"]["model"].startswith("openai/")


def test_answer_that_was_lost_leads_to_one_click(user):
    """The token was redeemed and nobody has what it gave: the user is asked, and nothing of the talk is gone."""
    before = len(user.thread.messages())
    with user.fault("oauth_token", "lost", times=1):
        codex = eventually(lambda: (ask(user, "say lost"), user.codex())[1]["reconnect_required"], seconds=90)
    assert codex
    assert "reconnect_required" == ask(user, "say refused").last["code"]

    user.connect()
    assert "found again" in ask(user, "say found again").text
    assert len(user.thread.messages()) > before


def test_refresher_that_is_killed_leads_to_one_click(user, short):
    """Between its claim and its store: nobody redeems again, and the tabs hear of it once the claim is over."""
    with user.fault("oauth_token", "slow", seconds=25), ThreadPoolExecutor(1) as pool:
        calls = len(user.journal("oauth_token"))
        asking = pool.submit(refresh_under_way, user, calls)
        eventually(lambda: len(user.journal("oauth_token")) > calls, seconds=3 * LIFE)
        kill(workers(short, "threadbox-sandbox-ctl"))
        asking.result(150)
    redeemed = len(grants(user))
    told: list[str] = []

    def asked_to_reconnect() -> bool:
        with user.thread.tab() as tab:
            answer = tab.answer(tab.ask("say anybody"))
            told.extend(text for text in tab.received if '\\"status\\": \\"reconnect_required\\"' in text)
        return answer.last.get("code") == "reconnect_required"

    eventually(asked_to_reconnect, seconds=CLAIM_SECONDS + 90)
    assert (1, redeemed) == (len(told), len(grants(user)))
    user.connect()
    assert "found again" in ask(user, "say found again").text


def refresh_under_way(user: SigningIn, calls: int) -> None:
    """Ask until an answer needed a refresh."""
    while len(user.journal("oauth_token")) == calls:
        ask(user, "say killed")


def test_tokens_are_nowhere_but_where_they_must_be(user, users, short, state):
    """Of everything the stack wrote: the access token in the sandbox's auth.json, and not one refresh token."""
    with user.thread.tab() as tab:
        assert "HOME" in tab.answer(tab.ask("run: env")).text
        frames = "\n".join(tab.received).encode()
    errors = [
        user.http.post(f"{user.path}/oauth/authorize", content="x{"),
        user.http.get(f"{user.path}/oauth/attempt"),
        user.http.get(f"/api/sandbox/{user.thread.name}"),
        user.http.get(f"/agents/chat/{user.thread.name}/get-messages"),
    ]
    told = [("frames", frames), *((f"answer {answer.url}", answer.content) for answer in errors)]
    layout = Layout.of(state)
    places = [*everything(short, layout), *told]
    kinds = {name.split(" ", 1)[0] for name, _ in places}
    assert {"file", "process", "item", "log", "execution", "task", "object", "function", "frames", "answer"} == kinds

    assert set() == found(REFRESH, iter(places))
    with_access = found(ACCESS, iter(places))
    assert with_access
    assert [] == [name for name in with_access if not re.fullmatch(r"file sandboxes/.*/opencode/auth\.json", name)]
