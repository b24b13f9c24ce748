"""Steps that run side by side, and tell how they are getting on."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

TELL_EVERY_SECONDS = 5.0
WORTH_TELLING_SECONDS = 0.3
AT_ONCE = 16

T = TypeVar("T")


class StepSkippedError(Exception):
    """A step that this one needs failed."""


class Steps:
    """
    A board of steps.

    Leaving the ``with`` block waits for all of them and raises the first failure.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._futures: list[Future[Any]] = []
        self._since: dict[str, float] = {}
        self._done = threading.Event()
        self._teller = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Self:
        self._teller.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_details: object) -> None:
        try:
            if kind is None:
                self._collect()
        finally:
            self._done.set()
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def add(self, name: str, work: Callable[[], T], *, after: Iterable[Future[Any]] = ()) -> Future[T]:
        """Do *work* once all of *after* is done."""
        future = self._pool.submit(self._run, name, work, tuple(after))
        self._futures.append(future)
        return future

    def _run(self, name: str, work: Callable[[], Any], after: tuple[Future[Any], ...]) -> Any:
        for needed in after:
            if needed.exception() is not None:
                raise StepSkippedError(name)
        start = self._since[name] = time.monotonic()
        try:
            result = work()
        finally:
            del self._since[name]
        took = time.monotonic() - start
        if took > WORTH_TELLING_SECONDS:
            self._say(f"  {name:<34} {took:5.1f} s")
        return result

    def _collect(self) -> None:
        failures = [error for future in self._futures if (error := future.exception()) is not None]
        for error in sorted(failures, key=lambda failure: isinstance(failure, StepSkippedError)):
            raise error

    def _tell(self) -> None:
        while not self._done.wait(TELL_EVERY_SECONDS):
            now = time.monotonic()
            waiting = [f"{name} ({now - since:.0f} s)" for name, since in list(self._since.items())]
            if waiting:
                self._say(f"  … {', '.join(waiting)}")
