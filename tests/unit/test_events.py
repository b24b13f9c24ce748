"""The recorded events of tests/events, given to the functions that get them on AWS."""

import json
from pathlib import Path

import boto3
import pytest

from local.stack.session_token import signed
from tests.unit.composed import CONTEXT, composed
from threadbox.identifiers import thread_hash

EVENTS = Path(__file__).parents[1] / "events"
THREAD, CONNECTION = "thread-1", "UQ2KPdWaIAMCJrg="
SECRET = {"kid": "session-1", "key": "k" * 64}
FUNCTIONS = {
    "sandbox_ctl.handler": "SandboxCtlFunction",
    "oauth_proxy.handler": "OauthHttpFunction",
    "chat.handler": "ChatHttpFunction",
}


def recorded(name: str, **replaced: str) -> dict:
    """The event, with a session token and what else is to stand in place of a recorded name."""
    token = signed(SECRET, thread=THREAD, user="ann", ttl=900)
    text = (EVENTS / f"{name}.json").read_text().replace("TOKEN", token)
    for recorded_name, value in replaced.items():
        text = text.replace(recorded_name, value)
    return json.loads(text)


@pytest.fixture
def functions(aws, table, bodies, template, monkeypatch):
    """All handlers, composed as on AWS."""
    boto3.client("s3").create_bucket(Bucket="sandboxes")
    secret = boto3.client("secretsmanager").create_secret(Name="session", SecretString=json.dumps(SECRET))["ARN"]
    own = {
        "TABLE_NAME": table.name,
        "BODIES_BUCKET": bodies.bucket,
        "SANDBOX_BUCKET_NAME": "sandboxes",
        "SESSION_SECRET_ARN": secret,
        "CONNECTIONS_URL": "https://w.example/live",
        "SANDBOX_CTL_FUNCTION": "sandbox-ctl",
        "TURN_FUNCTION": "chat-turn",
    }
    with composed(monkeypatch, template, FUNCTIONS, **own) as elsewhere:
        yield elsewhere


@pytest.fixture
def given(functions):
    """Gives a handler an event: ``given("chat.handler.http", "http-health")``."""

    def given(handler: str, event: str, **replaced: str):
        module, _, name = handler.rpartition(".")
        return getattr(functions.handlers[module], name)(recorded(event, **replaced), CONTEXT)

    return given


@pytest.fixture
def connected(given):
    """The recorded socket is open."""
    assert {"statusCode": 200} == given("chat.handler.socket", "socket-connect")


@pytest.fixture
def asked(given, connected, functions) -> dict:
    """The recorded question was asked; what the turn's function was invoked with."""
    assert {"statusCode": 200} == given("chat.handler.socket", "socket-message")
    ((function, payload),) = functions.invoked
    assert "chat-turn" == function
    return payload


@pytest.mark.parametrize(
    ("handler", "event", "status", "said"),
    [
        ("chat.handler.http", "http-health", 200, '"ok":true'),
        ("chat.handler.http", "http-get-messages", 200, "[]"),
        ("chat.handler.http", "http-delete-thread", 200, '"messages":0'),
        ("sandbox_ctl.handler.handle", "http-sandbox-status", 200, '"state":"stopped"'),
        ("sandbox_ctl.handler.handle", "http-exec", 401, '"code":"unauthorized"'),
        ("oauth_proxy.handler.http", "http-oauth-attempt", 404, '"code":"no_signin"'),
    ],
)
def test_requests_of_the_http_api(given, handler, event, status, said):
    """In API Gateway's version 2.0, whatever route led to the function."""
    answer = given(handler, event)

    assert (status, True) == (answer["statusCode"], said in answer["body"])


def test_socket_opens_asks_and_closes(given, asked, table):
    """The connection has a row while it is open, and the question is stored."""
    row = {"thread_id": THREAD, "sk": f"SOCK#{CONNECTION}"}
    assert "Item" in table.get_item(Key=row)
    assert "Hello." in given("chat.handler.http", "http-get-messages")["body"]

    given("chat.handler.socket", "socket-disconnect")

    assert "Item" not in table.get_item(Key=row)


def test_turn_is_invoked_with_what_was_recorded(asked):
    """The recorded turn has the fields of one that the socket's function hands over."""
    turn = recorded("turn", INVOCATION=asked["invocation"])

    assert turn == asked


def test_turn_that_nobody_waits_for_does_nothing(given, functions):
    """Neither does a return to an answer that nobody knows."""
    assert given("chat.handler.turn", "turn") is None
    assert given("chat.handler.turn", "turn-return") is None
    assert ([], []) == (functions.posted, functions.tasks)


def test_turn_whose_function_failed_goes_on_in_another(given, asked, functions):
    """By the invocation that Lambda's report names; a report of one that nobody waits for changes nothing."""
    given("chat.handler.recover", "turn-failed")
    assert 1 == len(functions.invoked)

    given("chat.handler.recover", "turn-failed", INVOCATION=asked["invocation"])

    _, (function, again) = functions.invoked
    assert ("chat-turn", asked["request_id"]) == (function, again["request_id"])
    assert asked["invocation"] != again["invocation"]


def test_schedules_look_for_what_nobody_tells(given):
    """Both come with the same kind of event."""
    assert given("chat.handler.recover", "schedule") is None
    assert given("sandbox_ctl.handler.handle", "schedule") is None


def test_event_of_a_task_confirms_what_ecs_says_of_it(given, functions):
    """The thread's task is not known any more: its sandbox has ended. An unknown thread is passed over."""
    assert given("sandbox_ctl.handler.handle", "task-stopped") is None
    functions.handlers["sandbox_ctl.handler"].threads.claim(THREAD, user_id="ann")
    assert "starting" in given("sandbox_ctl.handler.handle", "operation-ensure")
    assert [thread_hash(THREAD)] == functions.tasks

    functions.ended = True
    given("sandbox_ctl.handler.handle", "task-stopped", THREAD_HASH=thread_hash(THREAD))

    sandbox = functions.handlers["sandbox_ctl.handler"].store.find(THREAD)
    assert sandbox is not None
    assert "starting" != sandbox.state or sandbox.generation > 1


@pytest.mark.parametrize("step", ["begin", "wait", "fail"])
def test_steps_of_the_machine(given, step):
    """An attempt that is not there any more has been called off."""
    assert {"status": "cancelled"} == given("oauth_proxy.handler.step", f"step-{step}")


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("ensure", "starting"),
        ("lend", "error"),
        ("stop", "stopped"),
        ("configure", "configured"),
        ("forget", "forgotten"),
        ("disconnect", "disconnected"),
        ("reseal", "resealed"),
    ],
)
def test_operations_that_are_invoked_directly(given, functions, operation, answer):
    """Each answers in its own field; there is no sandbox to lend."""
    functions.handlers["sandbox_ctl.handler"].threads.claim(THREAD, user_id="ann")

    assert answer in given("sandbox_ctl.handler.handle", f"operation-{operation}")


def test_every_recorded_event_is_given_to_a_function():
    """One that no test names proves nothing."""
    tested = Path(__file__).read_text()
    names = {path.stem for path in EVENTS.glob("*.json")}
    steps_and_operations = {name for name in names if name.startswith(("step-", "operation-"))}

    assert 10 == len(steps_and_operations)
    assert [] == [name for name in sorted(names - steps_and_operations) if f'"{name}"' not in tested]
