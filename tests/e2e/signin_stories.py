"""
Stories of sign-ins on the shared stack, whose times are scaled (``tests/stacks.py``).

Each waits most of the time, so they are lived side by side in two threads and sandboxes; the tests look at how they
ended.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from time import monotonic
from typing import Any

import httpx

from tests.e2e.chat_client import ChatClient
from tests.e2e.signing_in import PATIENCE, SigningIn, notices
from tests.e2e.victims import kill, sandboxd_of
from tests.waiting import eventually

Story = dict[str, Any]
BAD_BODIES = ('{"method":7}', '{"method":null}', "x{", '{"method":"1"', "[]", "")


@contextmanager
def lived(threads: Sequence[SigningIn]) -> Iterator[dict[str, Future[Story]]]:
    """Have the stories lived, each chain in its thread; what comes of them, by their names."""
    with ExitStack() as ending:
        stories: dict[str, Future[Story]] = {}
        for chain, signing_in in zip(CHAINS, threads, strict=True):
            pool = ThreadPoolExecutor(1)
            ending.callback(pool.shutdown, cancel_futures=True)
            stories |= {story.__name__: pool.submit(story, signing_in) for story in chain}
        yield stories


def heard(tab: ChatClient) -> list[dict[str, Any]]:
    """Return what a tab is told, until the sign-in ends."""
    told = []
    for notice in notices(tab.frames()):
        told.append(notice)
        if notice["type"] == "data-codex" and notice["data"]["status"] != "pending":
            break
    return told


def with_bad_bodies(signing_in: SigningIn) -> list[httpx.Response]:
    """Call the routes with what they do not take."""
    headers = {"Content-Type": "application/json"}
    return [
        signing_in.http.post(f"{signing_in.path}/oauth/{route}", content=body, headers=headers)
        for route in ("authorize", "callback")
        for body in BAD_BODIES
    ]


def connects(signing_in: SigningIn) -> Story:
    """The first sign-in of a thread, with all who watch it, to its first answer; then it is taken back."""
    refused = with_bad_bodies(signing_in)
    signing_in.start_functions(8)
    nothing = [signing_in.callback(), signing_in.http.get(f"{signing_in.path}/oauth/attempt")]
    with ThreadPoolExecutor(8) as pool, signing_in.thread.tab() as tab, signing_in.thread.tab() as other_tab:
        starting = signing_in.authorize(prefer="respond-async")
        begun = [click.result() for click in [pool.submit(signing_in.begin) for _ in range(2)]]
        begun.append(signing_in.authorize().json())
        with_httpx, with_curl = pool.submit(signing_in.callback), pool.submit(signing_in.curl)
        look = signing_in.attempt()
        eventually(lambda: "watcher_1" in signing_in.row())
        more = [pool.submit(signing_in.callback) for _ in range(3)]
        impatient = signing_in.callback(Prefer="respond-async")
        eventually(lambda: sum(call.done() for call in more) >= 2, seconds=PATIENCE)
        refused += with_bad_bodies(signing_in)
        look_again = signing_in.attempt()
        eventually(lambda: len(signing_in.polls(begun[0])) >= 2, seconds=PATIENCE)
        signing_in.decide(begun[0])
        told = [heard(each) for each in (tab, other_tab)]
        codex = signing_in.codex()
        text = tab.answer(tab.ask("say connected")).text
    models = signing_in.thread.http.get(f"/api/sandbox/{signing_in.thread.name}/models").json()
    model = signing_in.thread.messages()[-1]["metadata"]["model"]
    removed = signing_in.http.delete(signing_in.path).json()
    with signing_in.thread.tab() as tab:
        again = tab.answer(tab.ask("say disconnected")).text
    return {
        "refused": refused, "nothing": nothing, "starting": starting, "begun": begun, "looks": (look, look_again),
        "httpx": with_httpx.result(), "curl": with_curl.result(), "more": [call.result() for call in more],
        "impatient": impatient, "polls": signing_in.polls(begun[0]), "told": told, "codex": codex, "models": models,
        "texts": (text, again), "models_of_answers": (model, signing_in.thread.messages()[-1]["metadata"]["model"]),
        "removed": removed, "codex_after": signing_in.codex(),
    }  # fmt: skip


def is_not_completed_in_time(signing_in: SigningIn) -> Story:
    begun = signing_in.begin()
    answer = signing_in.callback()
    signing_in.decide(begun)
    later = signing_in.begin()
    signing_in.cancel()
    return {"begun": begun, "answer": answer, "later": later, "codex": signing_in.codex()}


def is_cancelled(signing_in: SigningIn) -> Story:
    begun = signing_in.begin()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(signing_in.callback)
        eventually(lambda: signing_in.polls(begun), seconds=PATIENCE)
        cancelled = signing_in.cancel()
        ending = signing_in.authorize()
        signing_in.decide(begun)
        answer = waiting.result()
    with signing_in.thread.tab() as tab:
        text = tab.answer(tab.ask("say still here")).text
    second = signing_in.begin()
    codex = signing_in.codex()
    signing_in.cancel()
    return {
        "cancelled": cancelled, "ending": ending, "answer": answer, "text": text, "second": second, "begun": begun,
        "codex": codex,
    }  # fmt: skip


def is_abandoned(signing_in: SigningIn) -> Story:
    signing_in.begin()
    eventually(lambda: signing_in.row()["status"] == "abandoned")
    return {"answer": signing_in.callback()}


def loses_its_sandbox(signing_in: SigningIn) -> Story:
    begun = signing_in.begin()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(signing_in.callback)
        eventually(lambda: signing_in.polls(begun), seconds=PATIENCE)
        kill([sandboxd_of(signing_in.stack, signing_in.thread.name)])
        killed = monotonic()
        answer = waiting.result()
        seconds = monotonic() - killed
    signing_in.decide(begun)
    second = signing_in.begin()
    signing_in.cancel()
    return {
        "answer": answer, "seconds": seconds, "second": second, "begun": begun, "polls": signing_in.polls(begun),
        "codex": signing_in.codex(),
    }  # fmt: skip


def is_denied_and_then_waits_with_an_old_token(signing_in: SigningIn) -> Story:
    signing_in.an_hour_passes()
    denied = signing_in.begin()
    signing_in.decide(denied, "deny")
    told = signing_in.callback()
    begun = signing_in.begin()
    name = signing_in.thread.name
    with (
        signing_in.client(signing_in.new_token(name, "ann", ttl=5)) as short,
        signing_in.client(signing_in.new_token(name, "bob")) as bob,
        ThreadPoolExecutor(1) as pool,
    ):
        hops: list[httpx.Response] = []
        short.event_hooks = {"response": [lambda told: hops.append(told) if told.is_redirect else None]}
        waiting = pool.submit(signing_in.callback, short)
        expired = eventually(lambda: unauthorized(signing_in.callback(short, Prefer="respond-async")))
        of_bob = signing_in.callback(bob, f"?attempt={begun['attempt_id']}&hop=3")
        gone = len(hops)
        eventually(lambda: len(hops) > max(gone, 2))
        signing_in.decide(begun)
        answer = waiting.result()
    return {"told": told, "expired": expired, "bob": of_bob, "answer": answer}


def unauthorized(answer: httpx.Response) -> httpx.Response | None:
    """Return the answer to a token that is not good, or None."""
    return answer if answer.status_code == HTTPStatus.UNAUTHORIZED else None


def changes_accounts(signing_in: SigningIn) -> Story:
    answers = []
    for replace, account in ((False, {}), (False, {"account_id": "acct-other"}), (True, {"account_id": "acct-other"})):
        signing_in.decide(signing_in.begin(replace=replace), **account)
        answers.append(signing_in.callback())
    return {"answers": answers, "codex": signing_in.codex()}


# One after another in one thread, which has five sign-ins an hour.
CHAINS = (
    (connects, is_not_completed_in_time),
    (
        is_cancelled,
        is_abandoned,
        loses_its_sandbox,
        is_denied_and_then_waits_with_an_old_token,
        changes_accounts,
    ),
)
