"""Running what several functions do at once in an order that a test decides, one call to a service at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

CALLS = ("get_item", "batch_get_item", "put_item", "update_item", "delete_item", "query", "transact_write_items")


class Interruptible:
    """Whatever makes calls to DynamoDB; before each of them *meanwhile* is called."""

    def __init__(self, real: Any, meanwhile: Callable[[], None]) -> None:
        self._real = real
        self._meanwhile = meanwhile

    @property
    def meta(self) -> "Interruptible":
        return Interruptible(self._real.meta, self._meanwhile)

    @property
    def client(self) -> "Interruptible":
        return Interruptible(self._real.client, self._meanwhile)

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in CALLS:
            return real

        def call(**arguments: Any) -> Any:
            self._meanwhile()
            return real(**arguments)

        return call


class Threads(ThreadPoolExecutor):
    """Runs at once what was meant for a thread; or, if it holds, when it is released."""

    def __init__(self, *, hold: bool) -> None:
        super().__init__(1)
        self._hold = hold
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        job = (future, lambda: fn(*args, **kwargs))
        if self._hold:
            self.waiting.append(job)
        else:
            _run(*job)
        return future

    def release(self, place: int) -> None:
        """Run one of those that are held."""
        _run(*self.waiting.pop(place))


class Loop:
    """An event loop that runs only when it is told to; ``posts`` are threads whose work waits to be released."""

    def __init__(self) -> None:
        self.posts = Threads(hold=True)
        self.changed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(Threads(hold=False))

    @property
    def running(self) -> bool:
        """Whether it is at work, so that nothing else can be run in it."""
        return self._loop.is_running()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what *work* returns."""
        return self._loop.run_until_complete(work)

    def call(self, work: Callable[[], object]) -> None:
        """Call *work* where there is a running loop."""

        async def calling() -> None:
            work()

        self.run(calling())

    def task(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Return *work* as a task that goes on whenever the loop runs."""
        return self._loop.create_task(work)

    def wake(self) -> None:
        """Let those go on that wait until something has ``changed``."""
        self.changed.set()
        self.changed = asyncio.Event()

    def turn_over(self) -> None:
        """Let every task go on as far as it can."""

        async def turns() -> None:
            for _ in range(40):
                await asyncio.sleep(0)

        self.run(turns())

    def release_all(self) -> None:
        """Run whatever is held, and what follows from it."""
        self.turn_over()
        while self.posts.waiting:
            self.posts.release(0)
            self.turn_over()

    def kill(self) -> None:
        """End what runs in it, and forget what waits."""
        while tasks := asyncio.all_tasks(self._loop):
            for task in tasks:
                task.cancel()
            self.run(_gone(tasks))
        self.posts.waiting.clear()

    def close(self) -> None:
        """End what still runs in it, and it."""
        self.kill()
        self._loop.close()


async def _gone(tasks: set["asyncio.Task[Any]"]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _run(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the future
        future.set_exception(error)
