"""The vault on the embedded AWS, with the local identity provider: races of many refreshers, and what sealing takes."""

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from uuid import uuid4

import boto3
import httpx
import pytest
from botocore.config import Config

from local.stack.aws_clients import client
from sandbox_ctl.openai import CLIENT_ID, OpenAIClient
from sandbox_ctl.refresher import CLAIM_SECONDS
from tests.controlling import Controlling
from tests.granting import grant
from threadbox.vault import Tokens

POOL = Config(max_pool_connections=64, retries={"max_attempts": 8, "mode": "standard"})
LIFE = 3600
SAMPLES = 50


class Later:
    """The real clock, so much later: for a token that is due by ours, and lives by the provider's."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return time.time() + self.seconds


@pytest.fixture
def thread_id():
    return f"vault-{uuid4().hex[:12]}"


@pytest.fixture
def later():
    return Later(0)


@pytest.fixture
def controlling(stack, later):
    table = boto3.resource("dynamodb", endpoint_url=stack.aws_url, config=POOL).Table(stack.outputs["TableName"])
    functions = client("lambda", stack.aws_url)
    variables = functions.get_function_configuration(FunctionName="threadbox-sandbox-ctl")["Environment"]["Variables"]
    with httpx.Client(timeout=30, limits=httpx.Limits(max_connections=64)) as http:
        yield Controlling(
            table,
            later,
            kms=boto3.client("kms", endpoint_url=stack.aws_url, config=POOL),
            key_id=variables["VAULT_KEY_ARN"],
            client=OpenAIClient(http=http, issuer=stack.idp_url),
            pause=time.sleep,
        )


@pytest.fixture
def redemptions(stack):
    """How often refresh tokens of the provider were redeemed since the test began."""
    began = time.time()

    def count(outcome="ok"):
        entries = httpx.get(f"{stack.idp_url}/journal", timeout=30).json()
        return sum(
            (entry["grant_type"], entry["outcome"]) == ("refresh_token", outcome) and entry["time"] >= began
            for entry in entries
        )

    return count


def test_twenty_refreshers_redeem_once(stack, controlling, later, thread_id, redemptions):
    """Whoever comes second takes what the first one stored; the grant lives, which one reuse would have ended."""
    controlling.connects(thread_id, life=LIFE, refresh_token=grant(stack.idp_url).refresh_token)
    due = controlling.grant(thread_id)
    later.seconds = LIFE
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: controlling.refresher.renewed(due), range(20)))

    stored = controlling.grant(thread_id)
    assert ({stored.version}, 1) == ({answer.version for answer in answers}, redemptions())
    later.seconds = 2 * LIFE
    assert controlling.refresher.renewed(stored).version > stored.version, "the grant is alive"


def test_twenty_who_find_a_dead_claim_ask_for_reconnect_once(stack, controlling, later, thread_id, redemptions):
    """Nobody redeems after a claim that ended without an outcome, and the row says so once."""
    controlling.connects(thread_id, life=LIFE, refresh_token=grant(stack.idp_url).refresh_token)
    controlling.grants.claim(controlling.grant(thread_id), owner="dead", seconds=CLAIM_SECONDS)
    later.seconds = LIFE
    due = controlling.grant(thread_id)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: controlling.refresher.renewed(due), range(20)))
    assert ({True}, 0) == ({answer.reconnect_required for answer in answers}, redemptions())


def test_real_provider_ends_a_grant_that_is_used_twice(stack, controlling, later, thread_id, redemptions):
    """What the claim prevents: with a refresh token that somebody else has used the user must reconnect."""
    granted = grant(stack.idp_url)
    controlling.connects(thread_id, life=LIFE, refresh_token=granted.refresh_token)
    controlling.openai.refresh(Tokens(access_token="a", refresh_token=granted.refresh_token).refresh_token)
    later.seconds = LIFE
    stored = controlling.refresher.renewed(controlling.grant(thread_id))
    assert (True, 1) == (stored.ended, redemptions("refresh_token_reused"))


def test_disconnect_ends_the_grant_at_the_provider(stack, controlling, thread_id):
    """The refresh token is good for nothing afterwards."""
    granted = grant(stack.idp_url)
    controlling.connects(thread_id, refresh_token=granted.refresh_token)
    assert controlling.perform("disconnect", thread_id=thread_id).disconnected.removed
    form = {
        "grant_type": "refresh_token",
        "refresh_token": granted.refresh_token,
        "client_id": CLIENT_ID,
    }
    assert httpx.post(f"{stack.idp_url}/oauth/token", data=form, timeout=30).is_client_error


def test_what_sealing_and_opening_take(controlling, thread_id):
    """Measured here, printed, and far from what a start takes."""
    controlling.connects(thread_id, refresh_token="rt")
    stored = controlling.grant(thread_id)
    tokens, binding = controlling.lender.open(stored)

    def milliseconds(call):
        began = time.perf_counter()
        call()
        return (time.perf_counter() - began) * 1000

    seal = median(milliseconds(lambda: controlling.sealer.seal(tokens, binding)) for _ in range(SAMPLES))
    opens = median(milliseconds(lambda: controlling.lender.opener.open(stored.sealed, binding)) for _ in range(SAMPLES))
    print(  # noqa: T201 - it is measured here
        f"\nthe vault, median of {SAMPLES}, with one call to the embedded AWS's KMS in each: "
        f"seal {seal:.1f} ms, open {opens:.1f} ms"
    )
    assert max(seal, opens) < 1000
