"""Races, on the embedded AWS's DynamoDB and the local ECS: whoever loses learns it, and nothing happens twice."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from pydantic import SecretStr

from chat.messages import MessageStore, UIMessage
from chat.turns import Submitted, TurnStore
from sandbox_ctl.launcher import FargateLauncher
from sandbox_ctl.models import Model, ModelAccess
from sandbox_ctl.starts import Starter
from tests.controlling import Controlling
from tests.fakes import FakeDaemon
from threadbox.errors import ConflictError, ForbiddenError
from threadbox.identifiers import thread_hash
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
    yield replace(controlling.service, task_definition="threadbox-sandbox")
    for task in tasks(stack, ecs, thread_id):
        ecs.stop_task(cluster=stack.outputs["ClusterArn"], task=task)


def tasks(stack, ecs, thread_id):
    """Return every task of the thread, running or stopped."""
    started_by = thread_hash(thread_id)
    return [
        task
        for status in ("RUNNING", "STOPPED")
        for task in ecs.list_tasks(cluster=stack.outputs["ClusterArn"], startedBy=started_by, desiredStatus=status)[
            "taskArns"
        ]
    ]


def ask(turns, messages, thread_id, request_id):
    seq = messages.reserve(thread_id)
    message = UIMessage(id=f"m-{request_id}", role="user", parts=[{"type": "text", "text": "hi"}])
    writes = messages.creation(thread_id, seq, message)
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
    turns, messages = TurnStore(table=table), MessageStore(table=table)
    ask(turns, messages, thread_id, "r1")
    with ThreadPoolExecutor(32) as pool:
        started = list(pool.map(lambda _: turns.start(thread_id, "r1"), range(32)))

    assert 1 == sum(turn is not None for turn in started)
    turns.end(next(turn for turn in started if turn), "aborted")


def test_same_request_many_times_is_one_turn(table, thread_id):
    """A frame that is delivered again and again stores one message and claims one turn."""
    turns, messages = TurnStore(table=table), MessageStore(table=table)
    with ThreadPoolExecutor(16) as pool:
        results = [s.result for s in pool.map(lambda _: ask(turns, messages, thread_id, "r1"), range(16))]

    assert 1 == results.count(Submitted.CLAIMED)
    assert 15 == results.count(Submitted.DUPLICATE)
    assert 1 == len(messages.list(thread_id))
    turns.end(turns.start(thread_id, "r1"), "aborted")


def test_twenty_requests_at_once_leave_one_running_and_one_waiting(table, thread_id):
    """Whoever loses a race waits, is pushed out and named, or is refused in words: none is lost in silence."""
    turns, messages = TurnStore(table=table), MessageStore(table=table)

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
    running = turns.start(thread_id, turns.find(thread_id).request_id)
    waiting = turns.end(running, "aborted")
    turns.end(turns.start(thread_id, waiting.request_id), "aborted")
