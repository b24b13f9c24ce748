"""The gateway as clients and functions find it, with limits that are scaled down."""

import asyncio
import contextlib
import json
import socket
import threading

import httpx
import pytest
from botocore.exceptions import ClientError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from local.gateway.disorder import Disorder
from local.gateway.lifeline import Lifeline
from local.gateway.limits import Limits
from tests.gateways import API, STAGE, fine, gateway
from tests.waiting import eventually

SECONDS = 10
FRAME = 1000
MESSAGE = 4000
GONE = "b1946ac92492d23="


@pytest.fixture(scope="module")
def running():
    """A gateway whose function is content with all."""
    with gateway(fine, frame_bytes=FRAME, message_bytes=MESSAGE) as one:
        yield one


def closed(client):
    """The code and reason of the close frame that comes."""
    with pytest.raises(ConnectionClosed):
        _read_on(client)
    return client.close_code, client.close_reason


def _read_on(client):
    while True:
        client.recv(timeout=SECONDS)


def silent(client, *, seconds):
    """Nothing comes for so long."""
    with pytest.raises(TimeoutError):
        client.recv(timeout=seconds)


def code_of(caught) -> str:
    return caught.value.response["Error"]["Code"]


def raises(request):
    return httpx.Response(200, headers={"X-Amz-Function-Error": "Unhandled"}, json={"errorMessage": "secret"})


# The handshake


@pytest.mark.parametrize("status", [401, 403, 500, 302])
def test_a_refused_connect_is_an_http_answer(status):
    """
    A handshake is refused with the status that the function answers.
    """

    async def refuse(event):
        return {"statusCode": status}

    with gateway(refuse) as running, pytest.raises(InvalidStatus) as caught:
        running.connect()

    assert caught.value.response.status_code == status
    assert set(json.loads(caught.value.response.body)) == {"message", "connectionId", "requestId"}


async def _raise(event):
    return raises(event)


async def _throttle(event):
    return httpx.Response(429, json={"Type": "User"})


async def _mumble(event):
    return "fine"


async def _think(event):
    await asyncio.Event().wait()


@pytest.mark.parametrize(("function", "status"), [(_raise, 502), (_mumble, 502), (_throttle, 500), (_think, 504)])
def test_a_connect_that_fails_is_an_http_answer(function, status):
    """
    The statuses of AWS for a function that raises, answers in no form, is not invoked, or takes too long.
    """
    with gateway(function, integration_seconds=0.2) as running, pytest.raises(InvalidStatus) as caught:
        running.connect()

    assert caught.value.response.status_code == status
    assert b"secret" not in caught.value.response.body


def test_an_unknown_stage_is_forbidden(running):
    """
    Without any function being asked.
    """
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://{running.address}-not")

    assert caught.value.response.status_code == 403


def test_a_long_address_is_refused(running):
    """
    An address may have 4096 characters.
    """
    with pytest.raises(InvalidStatus) as caught:
        running.connect("?token=" + "x" * 4096)

    assert caught.value.response.status_code == 414


def test_only_the_protocol_that_the_function_names_is_agreed_on():
    """
    The function chooses by a header of its answer.
    """

    async def choose(event):
        return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "bearer"}}

    with gateway(choose) as running, running.connect(subprotocols=["bearer", "t"]) as client:
        assert client.subprotocol == "bearer"
        assert running.functions.events[0]["headers"]["Sec-WebSocket-Protocol"] == "bearer, t"


def test_a_foreign_name_is_refused(running):
    """
    A name that somebody has resolve to loopback does not reach the functions.
    """
    answer = httpx.get(f"http://{running.address}/@connections/{GONE}", headers={"host": "evil.example"})

    assert answer.status_code == 400


def test_a_client_that_gives_up_is_reported():
    """
    A function that has let it in learns that it is not there.
    """
    with gateway() as running:

        async def hang_up(event):
            if event["requestContext"]["eventType"] == "CONNECT":
                client.close()
            return {"statusCode": 200}

        running.functions.function = hang_up
        client = socket.create_connection(("127.0.0.1", running.port))
        request = (
            f"GET /_aws/execute-api/{API}/{STAGE} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        client.sendall(request.encode())

        assert running.disconnected()["disconnectStatusCode"] == 1006


# Messages


def test_messages_are_invoked_one_after_another():
    """
    Without disorder the next one waits for the answer to the one before, and the end for the last.
    """
    done = []
    all_sent = threading.Event()

    async def slow_first(event):
        context = event["requestContext"]
        if event.get("body") == "0":
            await asyncio.to_thread(all_sent.wait, SECONDS)
        done.append(event.get("body") or context["routeKey"])
        return {"statusCode": 200}

    with gateway(slow_first) as running:
        with running.connect() as client:
            for number in range(5):
                client.send(str(number))
            all_sent.set()
        running.disconnected()
        eventually(lambda: len(done) == 7)

    assert done == ["$connect", "0", "1", "2", "3", "4", "$disconnect"]


def test_disorder_shuffles_the_same_way_each_time():
    """
    Messages overtake each other, in an order that the seed decides.
    """

    def order_of(seed):
        done = []

        async def note(event):
            done.append(event.get("body"))
            return {"statusCode": 200}

        with (
            gateway(note, routes=("$default",), order=Disorder(seed, spread=1.5)) as running,
            running.connect() as client,
        ):
            for number in range(6):
                client.send(str(number))
            eventually(lambda: len(done) == 6)
        return done

    first = order_of(11)
    assert first != sorted(first)
    assert first == order_of(11)


def test_a_failed_message_is_told_and_another_status_is_not():
    """
    The client hears of a function that raised or took too long; what a function answers is for nobody.
    """

    async def act(event):
        match event.get("body"):
            case "raise":
                return raises(event)
            case "think":
                await asyncio.Event().wait()
        return {"statusCode": 403, "body": "no"}

    with gateway(act, integration_seconds=0.3, routes=("$default",)) as running, running.connect() as client:
        client.send("refuse")
        client.send("raise")
        client.send("think")

        first, second = (json.loads(client.recv(timeout=SECONDS)) for _ in range(2))
        assert first["message"] == "Internal server error"
        assert set(first) == {"message", "connectionId", "requestId"}
        assert second["message"] == "Endpoint request timed out"


def test_a_message_without_a_route_is_forbidden():
    """
    As AWS says when there is no $default.
    """
    with gateway(routes=("ask",)) as running, running.connect() as client:
        client.send("{}")

        assert json.loads(client.recv(timeout=SECONDS))["message"] == "Forbidden"


def test_a_frame_of_the_largest_size_is_taken(running):
    """
    And a message of several such frames.
    """
    with running.connect() as client:
        client.send("x" * FRAME)
        client.send(["y" * FRAME] * (MESSAGE // FRAME))

        eventually(lambda: len(running.functions.of("MESSAGE")) == 2)
        assert running.functions.of("MESSAGE")[1]["body"] == "y" * MESSAGE


@pytest.mark.parametrize(
    "message", ["x" * (FRAME + 1), ["x" * FRAME] * (MESSAGE // FRAME) + ["x"], "x" * 50_000_000], ids=len
)
def test_too_large_a_frame_or_message_ends_the_socket(message):
    """
    With 1009, which the client gets to read even if it is still sending.
    """
    with gateway(frame_bytes=FRAME, message_bytes=MESSAGE) as running, running.connect() as client:
        with contextlib.suppress(ConnectionClosed):
            client.send(message)
        assert closed(client)[0] == 1009
        assert running.disconnected()["disconnectStatusCode"] == 1009
        assert running.functions.of("MESSAGE") == []


def test_a_binary_frame_ends_the_socket(running):
    """
    API Gateway takes text only.
    """
    with running.connect() as client:
        client.send(b"bytes")

        assert closed(client)[0] == 1003


# Time


def test_an_idle_socket_ends():
    """
    Messages keep it open, in both directions; pings are answered but do not.
    """
    with gateway(idle_seconds=1.2) as running, running.connect() as client:
        management = running.management()
        for _ in range(2):
            client.send("{}")
            silent(client, seconds=0.6)
            management.post_to_connection(ConnectionId=running.connection_id(), Data=b"{}")
            assert client.recv(timeout=SECONDS) == "{}"
            silent(client, seconds=0.6)
        assert client.ping().wait(timeout=SECONDS)

        assert closed(client) == (1001, "Going away")
        context = running.disconnected()
        assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1001, "Going away")


def test_a_socket_has_a_longest_life():
    """
    However busy it is.
    """
    with gateway(life_seconds=1) as running, running.connect() as client:

        def talk():
            while True:
                client.send("{}")
                silent(client, seconds=0.05)

        with pytest.raises(ConnectionClosed):
            talk()
        assert client.close_code == 1001


# Rules of a socket's own


def test_a_socket_may_ask_for_shorter_times(running):
    """
    In its address; others at the same gateway keep theirs, and functions reach it as any other.
    """
    with running.connect() as other, running.connect(changes="life_seconds=1") as client:
        running.management().post_to_connection(ConnectionId=running.connection_id(), Data=b"{}")
        assert client.recv(timeout=SECONDS) == "{}"
        assert closed(client)[0] == 1001
        assert other.ping().wait(timeout=SECONDS)


def test_a_socket_may_ask_for_disorder(running):
    """
    Its messages overtake each other, in an order that follows from the seed.
    """
    with running.connect(changes="disorder=11&disorder_seconds=1.5") as client:
        connection_id = running.connection_id()

        def taken():
            events = running.functions.of("MESSAGE")
            return [event["body"] for event in events if event["requestContext"]["connectionId"] == connection_id]

        for number in range(6):
            client.send(str(number))
        eventually(lambda: len(taken()) == 6)

    assert taken() != sorted(taken())


@pytest.mark.parametrize("changes", ["frame_bytes=1", "idle_seconds=0", "idle_seconds", "disorder=x"])
def test_other_changes_are_refused(running, changes):
    """
    By a status at the handshake; what is not scaled is as on AWS.
    """
    with pytest.raises(InvalidStatus) as caught:
        running.connect(changes=changes)

    assert caught.value.response.status_code == 400


# The embedded AWS


def test_sockets_end_with_the_embedded_aws():
    """
    At once: what was at work for them is gone. Whoever comes back meets it as soon as it is there again.
    """
    with socket.create_server(("127.0.0.1", 0)) as aws:
        port = aws.getsockname()[1]
        with gateway(lifeline=Lifeline(host="127.0.0.1", port=port)) as running, running.connect() as client:
            held, _ = aws.accept()
            # It closes what is idle, too; that it is there is seen from the next one.
            held.close()
            held, _ = aws.accept()
            assert client.ping().wait(timeout=SECONDS)
            aws.close()
            held.close()
            assert closed(client) == (1001, "Going away")
            assert running.disconnected()["disconnectStatusCode"] == 1001
            with socket.create_server(("127.0.0.1", port)) as again:
                again.accept()[0].detach()
                with running.connect() as later:
                    assert later.ping().wait(timeout=SECONDS)


# @connections


def test_a_function_posts_reads_and_closes(running):
    """
    Through boto3's own client.
    """
    management = running.management()
    with running.connect(user_agent_header="tab") as client:
        connection_id = running.connection_id()
        for text in ("one", "zwei ✓"):
            management.post_to_connection(ConnectionId=connection_id, Data=text.encode())
        assert [client.recv(timeout=SECONDS) for _ in range(2)] == ["one", "zwei ✓"]

        answer = management.get_connection(ConnectionId=connection_id)
        assert answer["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "tab"}
        assert answer["ConnectedAt"] <= answer["LastActiveAt"]

        management.post_to_connection(ConnectionId=connection_id, Data=b"last")
        management.delete_connection(ConnectionId=connection_id)
        assert client.recv(timeout=SECONDS) == "last"
        assert closed(client)[0] == 1000


def test_who_has_gone_is_gone(running):
    """
    For every operation, and for a connection of which nothing was ever heard.
    """
    management = running.management()
    with running.connect():
        left = running.connection_id()
    eventually(lambda: running.functions.of("DISCONNECT"))

    for connection_id in (left, GONE):
        for operation in (management.get_connection, management.delete_connection):
            with pytest.raises(management.exceptions.GoneException):
                operation(ConnectionId=connection_id)
        with pytest.raises(management.exceptions.GoneException):
            management.post_to_connection(ConnectionId=connection_id, Data=b"{}")


def test_nothing_can_be_posted_during_connect():
    """
    The connection is not there until $connect has returned.
    """
    with gateway() as running:
        management = running.management()
        told = []

        def post(connection_id):
            with pytest.raises(ClientError) as caught:
                management.post_to_connection(ConnectionId=connection_id, Data=b"{}")
            told.append(code_of(caught))

        async def eager(event):
            if event["requestContext"]["eventType"] == "CONNECT":
                await asyncio.to_thread(post, event["requestContext"]["connectionId"])
            return {"statusCode": 200}

        running.functions.function = eager
        with running.connect():
            assert told == ["GoneException"]
            management.post_to_connection(ConnectionId=running.connection_id(), Data=b"{}")


def test_too_large_a_post_is_refused(running):
    """
    A message may have 128 KB.
    """
    management = running.management()
    with running.connect() as client:
        connection_id = running.connection_id()
        management.post_to_connection(ConnectionId=connection_id, Data=b"x" * MESSAGE)
        assert len(client.recv(timeout=SECONDS)) == MESSAGE
        with pytest.raises(management.exceptions.PayloadTooLargeException):
            management.post_to_connection(ConnectionId=connection_id, Data=b"x" * (MESSAGE + 1))


def test_a_client_that_does_not_read_is_not_waited_for():
    """
    Its buffer fills up; posting to others goes on, and closing it does not wait either.
    """
    with gateway(fine) as running, running.connect(max_queue=1, close_timeout=1):
        lazy_id = running.connection_id()
        management = running.management()

        def fill():
            for _ in range(1000):
                management.post_to_connection(ConnectionId=lazy_id, Data=b"x" * 100_000)

        with pytest.raises(management.exceptions.LimitExceededException):
            fill()
        with running.connect() as other:
            management.post_to_connection(ConnectionId=running.connection_id(), Data=b"{}")
            assert other.recv(timeout=SECONDS) == "{}"

        management.delete_connection(ConnectionId=lazy_id)
        assert eventually(lambda: running.functions.of("DISCONNECT"), seconds=SECONDS)


def test_there_is_room_again_for_a_client_that_reads_on():
    """
    What was refused can be posted later, and what was taken comes in order.
    """
    with gateway(fine) as running, running.connect(max_queue=1, close_timeout=1) as client:
        connection_id, management = running.connection_id(), running.management()
        taken = []

        def fill():
            for number in range(1000):
                management.post_to_connection(ConnectionId=connection_id, Data=f"{number:0100000}".encode())
                taken.append(number)

        with pytest.raises(management.exceptions.LimitExceededException):
            fill()
        assert [int(client.recv(timeout=SECONDS)[-4:]) for _ in taken] == taken
        management.post_to_connection(ConnectionId=connection_id, Data=b"{}")
        assert client.recv(timeout=SECONDS) == "{}"


@pytest.mark.parametrize(
    ("close", "code"), [(lambda c: c.close(4001, "bye"), 4001), (lambda c: c.socket.shutdown(2), 1006)]
)
def test_an_end_by_the_client_is_told(close, code):
    """
    With the client's code, or that the connection broke.
    """
    with gateway() as running, running.connect() as client:
        close(client)

        context = running.disconnected()
        assert context["disconnectStatusCode"] == code
        assert context["disconnectReason"] == ("bye" if code == 4001 else "")


def test_the_limits_are_those_of_aws():
    """
    Unless they are scaled.
    """
    limits = Limits()

    assert (limits.frame_bytes, limits.message_bytes) == (32_768, 131_072)
    assert (limits.integration_seconds, limits.idle_seconds, limits.life_seconds) == (29, 600, 7200)
