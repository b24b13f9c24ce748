"""Prompts between the moment they are taken and the moment OpenCode is busy with them."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from sandboxd.errors import NotReadyError, SandboxdError, UnknownOutcomeError
from sandboxd.events import RESYNC
from sandboxd.maintenance import Maintenance
from sandboxd.prompts import KNOWN_PROMPTS, KnownPrompts, Prompt, Prompts, PromptsUnderWay
from sandboxd.tasks import Tasks

SESSION = "ses_1"


def event(type_: str, **properties: object) -> bytes:
    """As OpenCode writes it."""
    body = {"id": "evt_20a69d819001P00Tiu1Bt5lFty", "type": type_, "properties": {"sessionID": SESSION, **properties}}
    return json.dumps(body, separators=(",", ":")).encode()


STORED = event("message.part.updated", part={"id": "prt_1", "type": "text"})
BUSY = event("session.status", status={"type": "busy"})
ERROR = event("session.error", error={})
IDLE = event("session.status", status={"type": "idle"})


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([], 1),
        ([BUSY], 1),
        ([IDLE], 1),
        ([event("message.updated"), STORED], 1),
        ([STORED, STORED.replace(b"prt_1", b"prt_2")], 1),
        ([STORED, BUSY.replace(b"ses_1", b"ses_2")], 1),
        ([STORED, BUSY], 0),
        ([BUSY, STORED, IDLE], 0),
        ([ERROR], 0),
        ([RESYNC], 0),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, list) else str(value),
)
def test_prompt_is_under_way_until_its_session_works(events: list[bytes], left: int) -> None:
    """Its part is stored first, then the session's status says something; an earlier turn's events say nothing."""
    prompts = PromptsUnderWay()
    prompts.add(SESSION, "prt_1")
    for each in events:
        prompts.see(each)

    assert prompts.any() == bool(left)


def test_prompt_that_nothing_is_heard_of_is_given_up() -> None:
    """Maintenance must not wait for ever for one that was lost."""
    now = 0.0
    prompts = PromptsUnderWay(now=lambda: now)
    prompts.add(SESSION, "prt_1")
    now = 59
    assert prompts.any()
    now = 61
    assert not prompts.any()


def test_parts_without_ids_get_some_in_order() -> None:
    """OpenCode sorts parts by their ids; whoever gives ids keeps them."""
    bare = Prompt.model_validate({"parts": [{"type": "text"}] * 12, "agent": "build"})
    named = Prompt.model_validate({"parts": [{"type": "text"}, {"type": "text", "id": "prt_mine"}]})
    first = bare.part_id()
    ids = [str(part["id"]) for part in bare.parts]

    assert (ids[0], ids, len(set(ids))) == (first, sorted(ids), 12)
    assert first.startswith("prt_")
    assert bare.model_dump(exclude_unset=True)["agent"] == "build"
    assert (named.part_id(), "id" in named.parts[0]) == ("prt_mine", False)


class FakeOpenCode:
    """Takes prompts and aborts, in place of the supervisor's and of the credentials that it would have."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._hear), base_url="http://opencode")

    async def opencode(self, _seconds: float) -> "FakeOpenCode":
        return self

    def prompted(self) -> None:
        """It needs no warm-up."""

    def restore(self) -> bool:
        return True

    async def _hear(self, request: httpx.Request) -> httpx.Response:
        parts = json.loads(request.content)["parts"] if request.content else []
        self.heard.append(" ".join([request.url.path.rpartition("/")[2], *(part["id"] for part in parts)]))
        return httpx.Response(204 if parts else 200)


@pytest.mark.anyio
async def test_prompt_called_off_before_opencode_is_at_work_is_stopped_once_it_is() -> None:
    """However long that takes: whoever called it off need not wait for it, and no other prompt comes in between."""
    tasks = Tasks(failed=lambda: None)
    opencode: Any = FakeOpenCode()
    under_way = PromptsUnderWay()
    prompts = Prompts(
        supervisor=opencode,
        maintenance=Maintenance(busy=never, tasks=tasks, held_seconds=1),
        credentials=opencode,
        under_way=under_way,
        last_event=lambda: 0,
        default_model=lambda: None,
        wait_seconds=0.01,
        tasks=tasks,
        busy_seconds=0.01,
    )

    async def hand_over(part_id: str) -> httpx.Response:
        prompt = Prompt.model_validate({"parts": [{"id": part_id, "type": "text", "text": "hi"}]})
        return await prompts.pass_on(SESSION, prompt, query=b"")

    await hand_over("prt_1")
    assert await prompts.abort(SESSION, "prt_1")
    assert await prompts.abort(SESSION, "prt_1"), "it may be called off twice"
    with pytest.raises(NotReadyError):
        await hand_over("prt_2")
    assert opencode.heard == ["prompt_async prt_1"]

    for each in (STORED, BUSY):
        under_way.see(each)
    prompts.wait_seconds = 5
    assert (await hand_over("prt_2")).status_code == 204
    assert opencode.heard == ["prompt_async prt_1", "abort", "prompt_async prt_2"]
    assert not await prompts.abort(SESSION, "prt_1"), "it comes too late for this one"
    await tasks.close()


async def never() -> bool:
    return False


class Handing:
    """Hands prompts over, or fails to."""

    def __init__(self, *outcomes: int | SandboxdError) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0
        self.may_answer = asyncio.Event()

    async def __call__(self) -> httpx.Response:
        self.calls += 1
        await self.may_answer.wait()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, SandboxdError):
            raise outcome
        return httpx.Response(outcome)


@pytest.mark.anyio
async def test_named_prompt_is_handed_over_once() -> None:
    """Also when it comes again while it is on its way, and when whoever asked first has gone away."""
    known, handing = KnownPrompts(), Handing(204)
    first = asyncio.create_task(known.once("prt_1", handing))
    second = asyncio.create_task(known.once("prt_1", handing))
    await asyncio.sleep(0)
    first.cancel()
    handing.may_answer.set()

    assert (await second).status_code == 204
    assert (await known.once("prt_1", handing)).status_code == 204
    assert handing.calls == 1


@pytest.mark.anyio
@pytest.mark.parametrize("refusal", [400, NotReadyError()])
async def test_refused_prompt_may_come_again(refusal: int | SandboxdError) -> None:
    """What was certainly not taken is handed over anew."""
    known, handing = KnownPrompts(), Handing(refusal, 204)
    handing.may_answer.set()
    if isinstance(refusal, int):
        assert (await known.once("prt_1", handing)).status_code == refusal
    else:
        with pytest.raises(type(refusal)):
            await known.once("prt_1", handing)

    assert (await known.once("prt_1", handing)).status_code == 204


@pytest.mark.anyio
async def test_prompt_that_may_have_been_taken_is_not_handed_over_again() -> None:
    """Nobody knows what became of it, and whoever asks again is told so as well."""
    known, handing = KnownPrompts(), Handing(UnknownOutcomeError())
    handing.may_answer.set()
    for _ in range(2):
        with pytest.raises(UnknownOutcomeError):
            await known.once("prt_1", handing)

    assert handing.calls == 1


@pytest.mark.anyio
async def test_only_so_many_prompts_are_known() -> None:
    """A sandbox that lives long does not grow for it."""
    known, handing = KnownPrompts(), Handing(*[204] * (KNOWN_PROMPTS + 2))
    handing.may_answer.set()
    for number in range(KNOWN_PROMPTS + 1):
        await known.once(f"prt_{number}", handing)
    await known.once(f"prt_{KNOWN_PROMPTS}", handing)
    await known.once("prt_0", handing)

    assert handing.calls == KNOWN_PROMPTS + 2
