"""Races, on the embedded AWS's DynamoDB and the local ECS: whoever loses learns it, and nothing happens twice."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from uuid import uuid4

import boto3
import pytest
from boto3.dynamodb.conditions import Key
from botocore.config import Config
from pydantic import SecretStr

from chat import frames
from chat.asking import Asking
from chat.bodies import BodyStore
from chat.clearing import Clearing
from chat.cuts import CutStore
from chat.messages import MessageStore, UIMessage
from chat.turn import TurnState
from chat.turns import Submitted, TurnStore
from sandbox_ctl.census import quota_key
from sandbox_ctl.launcher import FargateLauncher
from sandbox_ctl.lifecycle import ENDED
from sandbox_ctl.models import Model, ModelAccess
from sandbox_ctl.rates import RateStore
from sandbox_ctl.rollout import Rollout
from sandbox_ctl.starts import Starter
from tests.controlling import Controlling
from tests.fakes import FakeAgent, FakeConnections, FakeDaemon, begin
from tests.waiting import eventually
from threadbox.errors import ConflictError, ForbiddenError, RateLimitedError
from threadbox.identifiers import thread_hash
from threadbox.sockets import Socket, SocketBroadcast, SocketStore
from threadbox.threads import ThreadStore

MODELS = ModelAccess(model=Model(base_url="http://127.0.0.1/v1", name="demo"), keys={"default": SecretStr("key")})
POOL = Config(max_pool_connections=64, retries={"max_attempts": 8, "mode": "standard"})


@pytest.fixture
def table(stack):
    resource = boto3.resource("dynamodb", endpoint_url=stack.aws_url, config=POOL)
    return resource.Table(stack.outputs["TableName"])


@pytest.fixture
def ecs(stack):
    return boto3.client("ecs", endpoint_url=f"http://127.0.0.1:{stack.ports['ecs']}", config=POOL)


@pytest.fixture
def thread_id():
    return f"race-{uuid4().hex[:12]}"


@pytest.fixture
def service(stack, table, ecs, thread_id):
    launcher = FargateLauncher(ecs=ecs, cluster=stack.outputs["ClusterArn"], subnets=[], security_group="")
    controlling = Controlling(table, launcher=launcher, daemon=FakeDaemon(ready=False), models=lambda: MODELS)
    # Read once: a function is one thread, and no store of flags is made for several that read them anew.
    rollout = Rollout(threads=controlling.threads, stores=partial(controlling.appconfig.store, max_age=3600))
    rollout.admit(thread_id)
    yield replace(controlling.service, rollout=rollout, task_definitions={"X86_64": "threadbox-sandbox"})
    for task in tasks(stack, ecs, thread_id):
        ecs.stop_task(cluster=stack.outputs["ClusterArn"], task=task)
    # The stack's own sweeper is not to go on with what begins here.
    table.delete_item(Key={"thread_id": thread_id, "sk": "SANDBOX"})
    controlling.store.forget(thread_id, None)


def tasks(stack, ecs, thread_id, *statuses):
    """Return every task of the thread, running or stopped, or only those of *statuses*."""
    started_by = thread_hash(thread_id)
    return [
        task
        for status in statuses or ("RUNNING", "STOPPED")
        for task in ecs.list_tasks(cluster=stack.outputs["ClusterArn"], startedBy=started_by, desiredStatus=status)[
            "taskArns"
        ]
    ]


def stores(table, bodies=None):
    """What a turn and its messages are kept in; large ones only with *bodies*."""
    bodies = bodies or BodyStore(client=lambda: boto3.client("s3"), bucket="none")
    return TurnStore(table=table), MessageStore(table=table, bodies=bodies, cuts=CutStore(table=table, bodies=bodies))


@pytest.fixture
def speaker(stack, table, thread_id):
    """Who asks, edits and clears in the thread."""
    s3 = boto3.client("s3", endpoint_url=stack.aws_url)
    turns, messages = stores(table, BodyStore(client=lambda: s3, bucket=stack.outputs["BodiesBucketName"]))
    socket = Socket(thread_id=thread_id, connection_id="c", user_id="u")
    broadcast = SocketBroadcast(store=SocketStore(table=table), connections=FakeConnections())
    clearing = Clearing(
        table=table, messages=messages, turns=turns, cuts=messages.cuts, agent=FakeAgent(), broadcast=broadcast
    )
    return socket, Asking(messages=messages, turns=turns, cuts=messages.cuts, per_minute=1000), clearing


def request(request_id, message_id, text):
    """The frame that asks *text*."""
    message = {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}
    init = {"method": "POST", "body": json.dumps({"messages": [message], "trigger": "submit-message"})}
    return frames.parse(json.dumps({"type": "cf_agent_use_chat_request", "id": request_id, "init": init}))


def finish(turns, thread_id):
    """End whatever runs or waits."""
    while (turn := turns.find(thread_id)).state != TurnState.ENDED:
        turns.end(begin(turns, thread_id, turn.request_id), "aborted")


def ask(turns, messages, thread_id, request_id):
    seq = messages.reserve(thread_id)
    message = UIMessage(id=f"m-{request_id}", role="user", parts=[{"type": "text", "text": "hi"}])
    writes = messages.creation(thread_id, seq, message, request_id=request_id)
    return turns.submit(thread_id, request_id, seq=seq, connection_id="c", writes=writes)


def test_two_hundred_simultaneous_ensures_start_one_task(stack, ecs, service, thread_id):
    """However many ask at once, one of them starts the task."""
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: service.ensure(thread_id, scope="turn"), range(200)))

    assert {1} == {answer.generation for answer in answers}
    assert 1 == len(tasks(stack, ecs, thread_id))


def test_crash_between_run_task_and_its_arn_starts_no_second_task(stack, ecs, table, service, thread_id):
    """RunTask repeated by whoever takes over the lease names the task that is there."""

    class CrashError(BaseException):
        pass

    class CrashingStarter(Starter):
        def run(self, sandbox, *, owner, launch):
            self.launcher.launch(sandbox)
            raise CrashError

    starter = service.starter
    parts = {field.name: getattr(starter, field.name) for field in fields(starter)}
    crashing = replace(service, starter=CrashingStarter(**parts))
    with pytest.raises(CrashError):
        crashing.ensure(thread_id, scope="turn")
    (task,) = tasks(stack, ecs, thread_id)
    table.update_item(
        Key={"thread_id": thread_id, "sk": "SANDBOX"},
        UpdateExpression="SET lease_until = :past",
        ExpressionAttributeValues={":past": 0},
    )

    service.ensure(thread_id, scope="turn")

    assert (1, task) == (service.get(thread_id).generation, service.get(thread_id).task_arn)
    assert [task] == tasks(stack, ecs, thread_id)


def test_thread_has_one_owner(table, thread_id):
    """Of many first users one owns the thread, and all the others are told."""
    threads = ThreadStore(table=table)

    def claim(user):
        try:
            threads.claim(thread_id, user_id=f"user-{user}")
        except ForbiddenError:
            return None
        return user

    with ThreadPoolExecutor(32) as pool:
        owners = [user for user in pool.map(claim, range(32)) if user is not None]

    assert 1 == len(owners)
    assert thread_id == threads.of_hash(thread_hash(thread_id))


def test_turn_is_started_by_one(table, thread_id):
    """However often the turn function is invoked, one of them runs the turn."""
    turns, messages = stores(table)
    ask(turns, messages, thread_id, "r1")
    with ThreadPoolExecutor(32) as pool:
        started = list(pool.map(lambda _: begin(turns, thread_id, "r1"), range(32)))

    assert 1 == sum(turn is not None for turn in started)
    turns.end(next(turn for turn in started if turn), "aborted")


def test_same_request_many_times_is_one_turn(table, thread_id):
    """A frame that is delivered again and again stores one message and claims one turn."""
    turns, messages = stores(table)
    with ThreadPoolExecutor(16) as pool:
        results = [s.result for s in pool.map(lambda _: ask(turns, messages, thread_id, "r1"), range(16))]

    assert 1 == results.count(Submitted.CLAIMED)
    assert 15 == results.count(Submitted.DUPLICATE)
    assert 1 == len(messages.list(thread_id))
    turns.end(begin(turns, thread_id, "r1"), "aborted")


def test_twenty_requests_at_once_leave_one_running_and_one_waiting(table, thread_id):
    """Whoever loses a race waits, is pushed out and named, or is refused in words: none is lost in silence."""
    turns, messages = stores(table)

    def attempt(n):
        try:
            return ask(turns, messages, thread_id, f"r{n}")
        except ConflictError:
            return None

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(attempt, range(20)))

    submissions = [submission for submission in results if submission is not None]
    displaced = [submission.displaced for submission in submissions if submission.displaced]
    assert 1 == sum(submission.result == Submitted.CLAIMED for submission in submissions)
    assert len(submissions) - 2 == len(displaced) == len(set(displaced))
    assert len(submissions) == len(messages.list(thread_id))
    running = begin(turns, thread_id, turns.find(thread_id).request_id)
    waiting = turns.end(running, "aborted")
    turns.end(begin(turns, thread_id, waiting.request_id), "aborted")


def test_edits_of_one_message_at_once_leave_one(table, speaker, thread_id):
    """Each is one after the other, or refused in words; the history has the message once, as one of them wanted it."""
    socket, asking, _ = speaker
    asking.submit(socket, request("r", "m", "first"))

    def edit(n):
        try:
            return asking.submit(socket, request(f"r{n}", "m", f"edit {n}")).result
        except ConflictError:
            return None

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(edit, range(12)))

    (message,) = asking.messages.list(thread_id)
    assert {Submitted.CLAIMED, Submitted.BEHIND, None} >= set(results)
    assert results[int(message.text().split()[1])] is not None
    asking.cuts.sweep(thread_id)
    assert [message] == asking.messages.list(thread_id)
    assert 1 == len(items(table, thread_id, "MSG#")) == len(items(table, thread_id, "MSGID#"))
    finish(asking.turns, thread_id)


def test_messages_and_clears_at_once(table, speaker, thread_id):
    """What is asked after the last clear is there, and nothing of before; whoever asks is never told a lie."""
    socket, asking, clearing = speaker

    def act(n):
        try:
            if n % 5 == 4:
                return clearing.clear(socket)
            return asking.submit(socket, request(f"r{n}", f"m{n}", f"message {n}"))
        except ConflictError:
            return None

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(25)))

    last = asking.turns.find(thread_id).cut
    numbers = [int(item["sk"].removeprefix("MSG#")) for item in items(table, thread_id, "MSG#")]
    assert [] == [number for number in numbers if number < last]
    assert len(numbers) == len(asking.messages.list(thread_id)) == len(items(table, thread_id, "MSGID#"))
    assert [] == items(table, thread_id, "CUT#")
    finish(asking.turns, thread_id)
    clearing.clear(socket)
    assert [] == asking.messages.list(thread_id)
    assert [] == items(table, thread_id, "TURN#")


def items(table, thread_id, prefix):
    condition = Key("thread_id").eq(thread_id) & Key("sk").begins_with(prefix)
    return table.query(KeyConditionExpression=condition, ConsistentRead=True)["Items"]


def test_as_many_commands_get_through_as_may(table, thread_id):
    """Of eighty at once the sixty that a minute has, whoever was first; and again in the next minute."""
    for minute in (100, 101):
        rate = RateStore(table=table, what="exec", per_minute=60, now=lambda minute=minute: minute * 60)

        def take(_, rate=rate):
            try:
                rate.take(thread_id)
            except RateLimitedError:
                return False
            return True

        with ThreadPoolExecutor(16) as pool:
            assert 60 == sum(pool.map(take, range(80)))


def test_user_who_asks_everywhere_at_once_gets_as_many_as_may_be(stack, table, ecs, service, thread_id):
    """Three, whatever the order; and when those have ended, each given back once, three others."""
    user = f"user-{thread_id}"
    names = [f"{thread_id}-{number}" for number in range(20)]
    threads = ThreadStore(table=table)
    for name in names:
        threads.claim(name, user_id=user)

    def ask(name):
        try:
            return service.ensure(name, scope="turn").generation
        except RateLimitedError:
            return None

    def stop(name):
        service.stop(name)
        return eventually(lambda: service.confirm(service.get(name)).state in ENDED)

    with ThreadPoolExecutor(20) as pool:
        for generation in (1, 2):
            answers = dict(zip(names, pool.map(ask, names), strict=True))
            running = [name for name, answer in answers.items() if answer is not None]
            assert 3 == len(running), generation
            assert 3 == sum(len(tasks(stack, ecs, name, "RUNNING")) for name in names)
            assert set(running) == table.get_item(Key=quota_key(user), ConsistentRead=True)["Item"]["threads"]
            # Two for each: one that stops it, and one that finds out.
            assert all(pool.map(stop, running * 2))
            assert "threads" not in table.get_item(Key=quota_key(user), ConsistentRead=True)["Item"]


def test_messages_at_once_are_as_many_as_may_be_within_a_minute(table, thread_id):
    """Thirty of fifty, each with a number of its own."""
    _, messages = stores(table)

    def reserve(_):
        try:
            return messages.reserve_paced(thread_id, per_minute=30)
        except RateLimitedError:
            return None

    with ThreadPoolExecutor(32) as pool:
        numbers = [number for number in pool.map(reserve, range(50)) if number is not None]

    assert 30 == len(numbers) == len(set(numbers))


def test_sockets_at_once_are_as_many_as_may_be(table, thread_id):
    """Ten of twenty; the others are refused, and leave nothing."""
    sockets = SocketStore(table=table)

    def connect(number):
        try:
            sockets.create(Socket(thread_id=thread_id, connection_id=f"{thread_id}-{number}", user_id="u"))
        except RateLimitedError:
            return None
        return number

    with ThreadPoolExecutor(20) as pool:
        opened = [number for number in pool.map(connect, range(20)) if number is not None]

    assert 10 == len(opened) == len(sockets.list(thread_id))
    assert {f"{thread_id}-{number}" for number in opened} == {s.connection_id for s in sockets.list(thread_id)}
