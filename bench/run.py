"""The passes of a run, each interleaved: bare server, Threadbox, bare server, Threadbox …"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar
from uuid import uuid4

from bench import packing, trace
from bench.answers import Answer
from bench.bare import BareServer, BareSession, Blueprint
from bench.calls import count, mean, memory_sizes, observed
from bench.crowd import crowd
from bench.daemon import Daemon, calls, sandboxd_memory, until_ready
from bench.figures import Times, median
from bench.floor import Floor
from bench.meter import metered
from bench.metering import QUIET, Metering
from bench.past import OLD, YOUNG, Pair
from bench.processes import descendants, is_opencode, memory, started_at
from bench.results import Comparison, Conditions, Crowd, Priced, Results, Tally
from bench.tabs import Thread
from bench.words import Verdict, judge
from local.stack.aws_clients import client
from local.stack.stack_file import StackFile

T = TypeVar("T")

TABS = 3
BESIDE = {"": 1, ", two tabs": 2}
"""Tabs of the threads with a past: with a second one, which is shown questions and answers, histories are read."""
PRICED_SECONDS = 60
PRICED_DOLLARS = 0.0015
PACE_MS = 50
"""Between the words of the turn that is priced: there are more than it has frames, so it has as many as it can."""
SETTLE_SECONDS = 0.3
PACKING_AIM = 1.5
STOP_SECONDS = 30
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    starts: int
    turns: int
    streams: int
    words: int
    traced: int
    metered: int
    calls: int
    """That are passed on, and as many past sandboxd."""
    seconds: int
    """Of the turn that is priced."""
    packs: int
    crowd: int
    """Threads that ask for a sandbox at once."""


FULL = Size(
    starts=5,
    turns=30,
    streams=5,
    words=5000,
    traced=10,
    metered=5,
    calls=300,
    seconds=PRICED_SECONDS,
    packs=5,
    crowd=100,
)
QUICK = Size(starts=1, turns=3, streams=1, words=500, traced=2, metered=1, calls=50, seconds=6, packs=1, crowd=20)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run against a stack that is up; *directory* is for the bare servers."""

    stack: StackFile
    model_url: str
    directory: Path
    size: Size
    say: Callable[[str], None]
    times: dict[str, list[float]] = field(default_factory=dict)
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    calls: dict[str, dict[str, float]] = field(default_factory=dict)
    metered: dict[str, dict[str, float]] = field(default_factory=dict)
    priced: Priced = field(init=False)
    crowd: Crowd = field(init=False)
    spans: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    idle: list[float] = field(default_factory=list)
    daemon: Daemon = field(init=False)

    async def go(self, conditions: Callable[[], Conditions]) -> Results:
        """Do all passes."""
        await self._packing()
        async with contextlib.AsyncExitStack() as opened:
            self.say("a first thread: functions and files are warm, and a sandbox shows how it runs OpenCode")
            one = await opened.enter_async_context(Thread.open(self.stack))
            await one.ask("say hello")
            blueprint = Blueprint.of(self._opencodes()[-1])
            await self._starts(blueprint)
            await self._boots(blueprint)

            server = await opened.enter_async_context(self._bare(blueprint))
            await server.warm_up()
            session = await opened.enter_async_context(server.session())
            three = await opened.enter_async_context(Thread.open(self.stack, tabs=TABS))
            floor = await opened.enter_async_context(Floor.open(self.stack))
            await self._turns(session, one, three, floor)
            await self._streams(session, one, three)
            self.memory = memory(self.stack.pids, bare=server.process.pid, sandboxes=len(self._opencodes()))
            await self._daemon(one)
            self.say("two threads, one of them with a long past")
            pair = await Pair.create(self.stack)
            await self._pasts(pair)
            await self._traced(one)
            await self._metered(one, pair)
            self.say(f"{self.size.crowd} threads ask for a sandbox at once")
            self.crowd = await crowd(self.stack, self.size.crowd)
        return self._results(conditions())

    async def _packing(self) -> None:
        """A workspace saved and restored, against tar and zstd; before there is a sandbox that does so too."""
        if (program := packing.missing()) is not None:
            self.say(f"saving and restoring is not measured: there is no {program} here")
            return
        took = await asyncio.to_thread(
            packing.measure,
            self.directory / "packing",
            times=self.size.packs,
            progress=lambda number: self._progress("save and restore", number, self.size.packs),
        )
        self.times |= took

    async def _starts(self, blueprint: Blueprint) -> None:
        """First message of a new thread, against boot and first prompt of a new bare server."""
        for number in range(self.size.starts):
            self._progress("new threads", number, self.size.starts)
            start = perf_counter()
            async with self._bare(blueprint) as server, server.session() as session:
                ready = perf_counter() - start
                self._note("bare new", ready + (await session.ask("say hello")).first)
            async with Thread.open(self.stack) as thread:
                self._note("ours new", (await thread.ask("say hello")).first)
            await self._stop_newest_task()

    async def _boots(self, blueprint: Blueprint) -> None:
        """A new thread's sandbox until it is ready, against the boot of a new bare server."""
        for number in range(self.size.starts):
            self._progress("boots", number, self.size.starts)
            start = perf_counter()
            async with self._bare(blueprint) as server, server.session():
                self._note("bare boot", perf_counter() - start)
            async with Thread.open(self.stack) as thread:
                start = perf_counter()
                await until_ready(self.stack, thread.identifier)
                self._note("ours boot", perf_counter() - start)
                await asyncio.sleep(SETTLE_SECONDS)
                self.idle.append(sandboxd_memory(self._opencodes()[-1]))
            await self._stop_newest_task()

    async def _daemon(self, thread: Thread) -> None:
        """Sandboxd by itself, that of the first thread: it has served all turns of one tab."""
        self.say("sandboxd's memory, and calls through it")
        access = await until_ready(self.stack, thread.identifier)
        opencode = self._opencodes()[0]
        used = sandboxd_memory(opencode)
        direct, passed_on = await calls(access, opencode, self.size.calls)
        self.daemon = Daemon(idle=median(self.idle), used=used, direct=Times.of(direct), passed_on=Times.of(passed_on))

    async def _turns(self, session: BareSession, one: Thread, three: Thread, floor: Floor) -> None:
        """Short turns, everything warm; the first of each is not counted."""
        for number in range(-1, self.size.turns):
            self._progress("warm turns", number, self.size.turns)
            text = f"say this is turn {number}"
            asks: dict[str, Callable[[], Awaitable[float]]] = {
                "bare first": partial(_first, session.ask, text),
                "ours first": partial(_first, one.ask, text),
                "three first": partial(_slowest_first, three, text),
                "empty": floor.turn,
                "floor": partial(floor.turn, calls=True),
            }
            found = {name: await self._settled(ask) for name, ask in asks.items()}
            for name, seconds in found.items():
                if number >= 0:
                    self._note(name, seconds)

    async def _streams(self, session: BareSession, one: Thread, three: Thread) -> None:
        """Long answers, word by word; every word is looked at."""
        for number in range(self.size.streams):
            self._progress(f"answers of {self.size.words} words", number, self.size.streams)
            text = f"stream {self.size.words} words every 0 ms"
            for name, ask in (("bare", session.ask_all), ("ours", one.ask_all), ("three", three.ask_all)):
                answers = await self._settled(partial(ask, text))
                self._note(f"{name} last", max(answer.last for answer in answers))
                verdicts = [judge(answer.text, self.size.words) for answer in answers]
                self.verdicts.setdefault(name, []).extend(verdicts)

    async def _pasts(self, pair: Pair) -> None:
        """Short turns of a thread that has a long past, against one that has nearly none."""
        async with pair.opened(1) as threads:
            for number in range(self.size.turns):
                self._progress(OLD, number, self.size.turns)
                for name, thread in threads.items():
                    answer = await self._settled(partial(thread.ask, f"say this is turn {number}"))
                    self._note(f"{name}, first", answer.first)
                    self._note(f"{name}, whole", answer.whole)
                    self._note(f"{name}, query", await self._settled(partial(pair.query, name)))

    async def _traced(self, thread: Thread) -> None:
        """Turns whose calls are counted, and whose way is followed; apart from what is timed."""
        points: list[dict[str, float]] = []
        short: list[dict[str, int]] = []
        async with observed(self.stack) as log, trace.sandbox_events(self.stack, thread.identifier) as events:
            for number in range(-1, self.size.traced):
                self._progress("traced turns", number, self.size.traced)
                events.clear()
                answer = await thread.ask(f"say this is traced turn {number}")
                await log.quiet(QUIET)
                calls = log.take()
                if number >= 0:
                    short.append(count(calls))
                    points.append(trace.points(answer, calls, events))
            await thread.ask(f"stream {self.size.words} words every 0 ms")
            await log.quiet(QUIET)
            self.calls = {"short turn": mean(short), "long turn": mean([count(log.take())])}
        self.spans = trace.spans(points)

    async def _metered(self, thread: Thread, pair: Pair) -> None:
        """Turns whose request units are metered too, and the one that is priced."""
        with metered(self.stack.aws_url) as meter:
            async with observed(self.stack, meter.variables) as log:
                metering = Metering(log=log, meter=meter, memory=memory_sizes(self.stack))
                await thread.ask("say that workers are warm")
                for beside, tabs in BESIDE.items():
                    async with pair.opened(tabs) as threads:
                        for number in range(self.size.metered):
                            self._progress(f"metered turns{beside}", number, self.size.metered)
                            for name, each in threads.items():
                                await metering.ask(f"{name}{beside}", each, f"say this is turn {number}")
                self.say(f"a turn of {self.size.seconds} s")
                words = self.size.seconds * 1000 // PACE_MS
                lasting = f"{self.size.seconds} s"
                await metering.ask(lasting, thread, f"stream {words} words every {PACE_MS} ms")
        self.metered = metering.means()
        self.priced = Priced(
            seconds=PRICED_SECONDS,
            measured=metering.usage(lasting),
            short=metering.usage(YOUNG),
            aim=PRICED_DOLLARS,
        )

    @contextlib.asynccontextmanager
    async def _bare(self, blueprint: Blueprint) -> AsyncIterator[BareServer]:
        directory = self.directory / f"bare-{uuid4().hex[:8]}"
        try:
            async with BareServer.run(blueprint, directory, model_url=self.model_url) as server:
                yield server
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def _opencodes(self) -> list[int]:
        """The OpenCode servers of the sandboxes, the newest last."""
        found = [pid for pid in descendants(self.stack.pids["ecs"]) if is_opencode(pid)]
        return sorted(found, key=started_at)

    async def _stop_newest_task(self) -> None:
        ecs = client("ecs", f"http://127.0.0.1:{self.stack.ports['ecs']}")
        cluster = self.stack.outputs["ClusterArn"]
        arns = (await asyncio.to_thread(ecs.list_tasks, cluster=cluster))["taskArns"]
        tasks = (await asyncio.to_thread(ecs.describe_tasks, cluster=cluster, tasks=arns))["tasks"]
        newest = max(tasks, key=lambda task: task["createdAt"])
        before = len(self._opencodes())
        await asyncio.to_thread(ecs.stop_task, cluster=cluster, task=newest["taskArn"])
        async with asyncio.timeout(STOP_SECONDS):
            while len(self._opencodes()) >= before:  # noqa: ASYNC110 - /proc tells nobody of a change
                await asyncio.sleep(LOOK_SECONDS)

    async def _settled(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask when what the question before has left to do is done, so that no side pays for the other."""
        await asyncio.sleep(SETTLE_SECONDS)
        return await ask()

    def _note(self, name: str, seconds: float) -> None:
        self.times.setdefault(name, []).append(seconds)

    def _progress(self, name: str, number: int, count: int) -> None:
        self.say(f"{name}: {number + 1} of {count}" if number >= 0 else f"{name}: warming up")

    def _results(self, conditions: Conditions) -> Results:
        times = {name: Times.of(seconds) for name, seconds in self.times.items()}
        comparisons = {
            "first delta": Comparison(bare=times["bare first"], ours=times["ours first"]),
            "first delta, empty functions off": Comparison(
                bare=times["bare first"], ours=times["ours first"].without(times["empty"])
            ),
            "first delta, floor off": Comparison(
                bare=times["bare first"], ours=times["ours first"].without(times["floor"]), aim=1.3
            ),
            "last delta": Comparison(bare=times["bare last"], ours=times["ours last"], aim=1.3),
            "new thread": Comparison(bare=times["bare new"], ours=times["ours new"], aim=1.4),
            # A sandbox that has something to restore takes that much longer: then it belongs to the base.
            "ensure to ready": Comparison(bare=times["bare boot"], ours=times["ours boot"], aim=1.2),
            "three tabs, first delta": Comparison(bare=times["ours first"], ours=times["three first"], aim=1.1),
            "three tabs, last delta": Comparison(bare=times["ours last"], ours=times["three last"], aim=1.1),
        }
        for what in ("first", "whole"):
            young, old = (self._without_query(name, what) for name in (YOUNG, OLD))
            comparisons[f"past, {what}"] = Comparison(bare=young, ours=old, aim=1.1)
        for what in ("save", "restore"):
            if f"our {what}" in times:
                tar, our = times[f"tar {what}"], times[f"our {what}"]
                comparisons[what] = Comparison(bare=tar, ours=our, aim=PACKING_AIM)
        return Results(
            conditions=conditions,
            words=self.size.words,
            comparisons=comparisons,
            floor=times["floor"],
            empty=times["empty"],
            queries={name: times[f"{name}, query"] for name in (YOUNG, OLD)},
            tallies={name: Tally.of(verdicts) for name, verdicts in self.verdicts.items()},
            memory=self.memory,
            daemon=self.daemon,
            calls=self.calls,
            metered=self.metered,
            priced=self.priced,
            crowd=self.crowd,
            trace=self.spans,
        )

    def _without_query(self, name: str, what: str) -> Times:
        # How long one query takes says nothing of the turn beside it: a slow one would make that turn look fast.
        query = median(self.times[f"{name}, query"])
        return Times.of([seconds - query for seconds in self.times[f"{name}, {what}"]])


async def _first(ask: Callable[[str], Awaitable[Answer]], text: str) -> float:
    return (await ask(text)).first


async def _slowest_first(thread: Thread, text: str) -> float:
    return max(answer.first for answer in await thread.ask_all(text))
