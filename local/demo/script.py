"""
Decides what the demo model answers. Some texts are a script for tests and benches, wherever the last message has them:

    stream 5000 words              that many numbered words, at the usual pace
    stream 5000 words every 0 ms   the same at another pace
    stream 9 words of 200 letters  longer ones; a pace comes behind
    slow: some text                one word, then nothing for 60 s, then the rest: time to stop it or to kill a part
    slow 5: some text              the same with 5 s
    think aloud about boxes        thoughts before the answer
    fail 401, fail 429, fail 500   that status
    cut the stream                 some words, then the connection breaks
    talk nonsense                  a stream that is no JSON; "talk nonsense as html": a page instead of a stream

``once`` after one of the failures makes the same request succeed when it comes again.
"""

import re

from local.demo.answers import Answer, Failure, split_words
from local.demo.requests import ChatRequest
from local.demo.talk import talk, thoughts, title
from local.demo.tasks import find_task

MAX_WORDS = 100_000

STREAM = re.compile(r"\bstream (\d{1,6}) words(?: of (\d{1,4}) letters)?(?: every (\d{1,5}) ms)?", re.IGNORECASE)
SLOW = re.compile(r"\bslow(?: (\d{1,3}))?: ?(.*)", re.IGNORECASE | re.DOTALL)
THINK = re.compile(r"\bthink(?: aloud)?(?: about)?\b[: ]*(.*)", re.IGNORECASE | re.DOTALL)
FAILURES: tuple[tuple[str, Failure], ...] = (
    (r"\bfail 401\b", "401"),
    (r"\bfail 429\b", "429"),
    (r"\bfail 500\b", "500"),
    (r"\bcut the stream\b", "cut"),
    (r"\btalk nonsense as html\b", "html"),
    (r"\btalk nonsense\b", "nonsense"),
)


def answer(request: ChatRequest, *, delay: float) -> Answer:
    """The answer to *request*; it depends on nothing else."""
    last = request.said[-1] if request.said else ""
    if "title generator" in request.system or request.model == "title":
        return Answer(words=split_words(title(last)))
    return (
        _failure(last, delay)
        or _pace(last, delay)
        or _work(request, delay)
        or _thought(request, delay)
        or Answer(words=split_words(talk(request.said)), delay=delay)
    )


def _failure(text: str, delay: float) -> Answer | None:
    for pattern, failure in FAILURES:
        if found := re.search(pattern + r"( once\b)?", text, re.IGNORECASE):
            words = split_words("Some words, then the rest of them, and that was all.")
            return Answer(words=words, delay=delay, failure=failure, once=found[1] is not None)
    return None


def _pace(text: str, delay: float) -> Answer | None:
    if script := STREAM.search(text):
        count = min(int(script[1]), MAX_WORDS)
        letters = int(script[2] or 0)
        pace = delay if script[3] is None else int(script[3]) / 1000
        return Answer(words=tuple(f"word{n}".ljust(letters, "x") + " " for n in range(1, count + 1)), delay=pace)
    if script := SLOW.search(text):
        rest = script[2].strip() or "That took its time."
        return Answer(words=split_words("Slowly: " + rest), delay=delay, pause=float(script[1] or 60))
    return None


def _thought(request: ChatRequest, delay: float) -> Answer | None:
    think = THINK.search(request.said[-1]) if request.said else None
    if think is None:
        return None
    about = think[1].strip()
    said = f"I have thought about {about}, and it is good." if about else talk(request.said)
    return Answer(thoughts=split_words(thoughts(about)), words=split_words(said), delay=delay)


def _work(request: ChatRequest, delay: float) -> Answer | None:
    task = find_task(request)
    if task is None:
        return None
    done = len(request.results)
    if done >= len(task.steps):
        return Answer(words=split_words(task.report(request.results)), delay=delay)
    words, call = task.steps[done]
    if not request.offers(call.tool):
        return Answer(words=split_words(f"I would call `{call.tool}`, but I was not offered it."), delay=delay)
    return Answer(words=split_words(words), call=call, delay=delay)
