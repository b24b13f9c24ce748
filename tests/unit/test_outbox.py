"""What is sent of an answer: at once, or gathered; noted when it was posted."""

import asyncio

import pytest

from chat.outbox import Outbox
from chat.turn import Place

START = {"type": "text-start", "id": "p"}
END = {"type": "text-end", "id": "p"}


def delta(text):
    return {"type": "text-delta", "id": "p", "delta": text}


class Posting:
    """What was sent and noted, in order; a note takes until it is let go on, if it is held."""

    def __init__(self, *, held=False):
        self.did = []
        self.noted = asyncio.Event()
        self.may_go_on = asyncio.Event()
        if not held:
            self.may_go_on.set()
        self.outbox = Outbox(send=self.send, note=self.note)
        self.n = 0

    def send(self, chunk):
        self.did.append(chunk.get("delta", chunk["type"]))

    async def note(self, place):
        await self.may_go_on.wait()
        self.did.append(place.n)
        self.noted.set()

    async def until(self, n):
        """Return when everything up to place *n* is noted."""
        while self.did[-1:] != [n]:
            self.noted.clear()
            await self.noted.wait()

    def put(self, *chunks):
        for chunk in chunks:
            self.n += 1
            self.outbox.put(chunk, Place(self.n))


def run(work):
    return asyncio.run(asyncio.wait_for(work, 20))


def test_what_begins_an_answer_goes_out_at_once():
    """Up to the first text nothing waits for a note, a title neither; that is noted, with what came before."""

    async def main():
        posting = Posting(held=True)
        posting.put({"type": "data-thread", "data": {"title": "t"}, "transient": True})
        await asyncio.sleep(0)
        posting.put({"type": "start-step"}, START)
        await asyncio.sleep(0)
        posting.put(delta("a"))
        await asyncio.sleep(0)
        assert ["data-thread", "start-step", "text-start", "a"] == posting.did
        posting.may_go_on.set()
        await posting.outbox.flush()
        assert ["data-thread", "start-step", "text-start", "a", 4] == posting.did
        await posting.outbox.close()

    run(main())


def test_text_is_gathered_and_everything_else_is_not(monkeypatch):
    """Text that comes within the time goes as one frame; what cannot be merged with it ends the gathering."""
    monkeypatch.setattr("chat.outbox.FLUSH_EVERY", 3600)

    async def main():
        posting = Posting()
        posting.put(START, delta("a"))
        await posting.until(2)
        posting.put(delta("b"))
        await asyncio.sleep(0)
        posting.put(delta("c"))
        assert posting.did[-1] == 2
        posting.put(END)
        await posting.until(5)
        assert ["bc", 4, "text-end", 5] == posting.did[3:]
        await posting.outbox.close()

    run(main())


def test_one_frame_at_a_time_is_not_noted(monkeypatch):
    """What follows a frame is held until that frame was noted: it is the only one of which nothing is known."""
    monkeypatch.setattr("chat.outbox.FLUSH_EVERY", 0)

    async def main():
        posting = Posting(held=True)
        posting.put(START, delta("a"))
        await asyncio.sleep(0)
        posting.put(END, {"type": "finish-step"})
        for _ in range(20):
            await asyncio.sleep(0)
        assert ["text-start", "a"] == posting.did
        posting.may_go_on.set()
        await posting.outbox.flush()
        assert [2, "text-end", 3, "finish-step", 4] == posting.did[2:]
        await posting.outbox.close()

    run(main())


def test_large_text_goes_in_frames_that_fit():
    """Gathered text never grows beyond a frame."""

    async def main():
        posting = Posting()
        posting.put(delta("x"), *[delta("y" * 20_000)] * 3)
        await posting.outbox.flush()
        assert max(len(each) for each in posting.did if isinstance(each, str)) < 32_000
        assert 60_001 == sum(len(each) for each in posting.did if isinstance(each, str))
        await posting.outbox.close()

    run(main())


def test_lost_turn_is_told_and_nothing_is_sent_any_more():
    """What goes wrong with a note is raised where everything is waited for."""

    async def main():
        posting = Posting()

        async def lost(place):
            raise LookupError

        posting.outbox.note = lost
        posting.put(delta("a"))
        with pytest.raises(LookupError):
            await posting.outbox.flush()
        posting.put(delta("b"))
        await asyncio.sleep(0)
        assert ["a"] == posting.did
        await posting.outbox.close()

    run(main())
