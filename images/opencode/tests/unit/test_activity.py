"""What counts as activity, and what does not."""

import pytest

from sandboxd.activity import Activity, wants_something


class Clock:
    time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def activity(clock: Clock) -> Activity:
    return Activity(now=clock)


def test_it_is_quiet_since_the_last_thing_ended(activity: Activity, clock: Clock) -> None:
    """Not since that began; of several that go on at once, since the last of them."""
    with activity.busy("exec"):
        clock.time += 50
        with activity.busy("exec"), activity.busy("file"):
            clock.time += 50
            assert (activity.quiet_for(), activity.busy_with) == (0, ["exec", "exec", "file"])
        assert (activity.quiet_for(), activity.busy_with) == (0, ["exec"])
    clock.time += 7
    assert (activity.quiet_for(), activity.busy_with) == (7, [])
    activity.touch()
    assert activity.quiet_for() == 0


def test_what_fails_ends_too(activity: Activity) -> None:
    """An error is an end like any other."""
    with pytest.raises(ZeroDivisionError), activity.busy("exec"):
        raise ZeroDivisionError
    assert activity.busy_with == []


def test_everything_that_happens_is_seen_by_who_looked_before(activity: Activity) -> None:
    """Even what began and ended in between."""
    seen = activity.moves
    with activity.busy("request"):
        pass
    assert seen < activity.moves


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (b'{"id":"evt_1","type":"session.status","properties":{}}', True),
        (b'{"id":"evt_1","type":"message.part.delta","properties":{}}', True),
        (b'{"id":"evt_1","type":"permission.asked","properties":{}}', True),
        (b'{"id":"evt_1","type":"file.watcher.updated","properties":{"file":"x"}}', False),
        (b'{"id":"evt_1","type":"lsp.updated","properties":{"a":"' + b"x" * 80 + b'\\"type\\":\\"session."}}', False),
    ],
)
def test_events_of_turns_count(activity: Activity, event: bytes, *, counts: bool) -> None:
    """A file that a forgotten process writes now and then is nobody's work."""
    seen = activity.moves
    activity.see(event)
    assert counts == (activity.moves > seen)


@pytest.mark.parametrize(
    ("method", "path", "counts"),
    [
        ("POST", "/session/ses_1/prompt_async", True),
        ("POST", "/permission/per_1/reply", True),
        ("DELETE", "/session/ses_1/message/msg_1", True),
        ("POST", "/sandboxd/signin", True),
        ("POST", "/sandboxd/signin/a1/callback", True),
        ("POST", "/sandboxd/session", True),
        ("GET", "/sandboxd/signin/a1", False),
        ("GET", "/sandboxd/events", False),
        ("GET", "/sandboxd/status", False),
        ("GET", "/session/ses_1/message", False),
        ("PUT", "/sandboxd/tool-policy", False),
        ("PUT", "/sandboxd/providers/openai", False),
        ("POST", "/sandboxd/sessions", False),
    ],
)
def test_calls_that_want_something_count(method: str, path: str, *, counts: bool) -> None:
    """Looking does not, nor does what the control plane brings without being asked."""
    assert counts == wants_something(method, path)
