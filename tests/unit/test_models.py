"""Models of a thread: which are offered, which is the default, and how long one waits for the list."""

import json

import httpx
import pytest
from pydantic import SecretStr

from sandbox_ctl.app import create_app
from sandbox_ctl.daemon import DaemonClient, KeptVersion, Memory, Upload
from sandbox_ctl.loans import Loan
from sandbox_ctl.models import KnownProviders, Model, ModelAccess, usable_keys
from sandbox_ctl.offers import OfferService
from tests.asgi import AsgiClient
from tests.controlling import Controlling
from tests.fakes import FakeAudit, FakeDaemon
from threadbox.errors import OpenCodeError, SandboxUnavailableError
from threadbox.policies import Policy
from threadbox.threads import ThreadStore


def known(*providers, default=None):
    """OpenCode's list: two models for each provider, of which it prefers the second."""
    listed = [
        {"id": id_, "models": {f"{id_}-{n}": {"id": f"{id_}-{n}", "name": f"{id_} {n}", "cost": {}} for n in "ab"}}
        for id_ in providers
    ]
    preferred = {id_: f"{id_}-b" for id_ in providers} if default is None else default
    return KnownProviders.model_validate({"providers": listed, "default": preferred, "more": 1})


@pytest.fixture
def controlling(table, clock):
    return Controlling(table, clock, daemon=FakeDaemon(known=known("default")))


@pytest.fixture
def launcher(controlling):
    return controlling.launcher


@pytest.fixture
def daemon(controlling):
    return controlling.daemon


@pytest.fixture
def service(controlling):
    return controlling.service


class Pauses:
    """Pauses that take no time, but move the clock."""

    def __init__(self, clock):
        self.clock = clock
        self.made = []

    def __call__(self, seconds):
        self.made.append(seconds)
        self.clock.time += seconds


@pytest.fixture
def pauses(clock):
    return Pauses(clock)


@pytest.fixture
def offers(service, daemon, clock, pauses):
    return OfferService(sandboxes=service, daemon=daemon, now=clock, pause=pauses)


@pytest.mark.parametrize(
    ("providers", "default"),
    [
        (("default", "anthropic", "openai", "openai-api"), "openai/openai-b"),
        (("default", "openai-api", "anthropic"), "anthropic/anthropic-b"),
        (("default", "openai-api"), "openai-api/openai-api-b"),
        (("warm-up", "default"), "default/default-b"),
    ],
)
def test_exactly_one_is_the_default(providers, default):
    """Codex if connected, else a provider with an API key, else the configured model."""
    offered = known(*providers).offers()

    assert [default] == [f"{offer.provider}/{offer.id}" for offer in offered if offer.default]


def test_what_is_not_for_users_is_not_offered():
    """The warm-up, and whatever else the sandbox may have been talked into."""
    assert {offer.provider for offer in known("warm-up", "opencode", "anthropic", "default").offers()} == {
        "anthropic",
        "default",
    }
    assert known("warm-up").offers() == []


def test_a_default_that_is_not_in_the_list_is_another_one():
    """There is always one, however OpenCode answers."""
    offered = known("default", default={}).offers()

    assert ["default-a"] == [offer.id for offer in offered if offer.default]


def test_the_list_waits_for_the_sandbox(offers, launcher, pauses, clock):
    """It is started if it is not there, and asked when it is ready; in between there are pauses."""
    start = clock.time

    def run_after_two_seconds(seconds):
        pauses(seconds)
        if clock.time - start >= 2:
            launcher.runs("arn:task/1")

    patient = OfferService(sandboxes=offers.sandboxes, daemon=offers.daemon, now=clock, pause=run_after_two_seconds)

    assert [offer.id for offer in patient.of_thread("t")] == ["default-a", "default-b"]
    assert pauses.made == [0.5] * 4


def test_the_wait_is_bounded(offers, pauses, clock):
    """After 25 s the answer is to come again; the start goes on."""
    start = clock.time

    with pytest.raises(SandboxUnavailableError) as caught:
        offers.of_thread("t")

    assert clock.time - start <= 25
    assert len(pauses.made) == 49
    assert caught.value.retry_after == 3
    assert offers.sandboxes.get("t").state == "starting"


def test_a_sandbox_that_does_not_answer_is_asked_twice(offers, launcher, daemon):
    """Then that is the answer: ECS says that it runs."""
    offers.sandboxes.ensure("t", scope="turn")
    launcher.runs("arn:task/1")
    offers.sandboxes.ensure("t", scope="turn")
    daemon.silent = True

    with pytest.raises(OpenCodeError):
        offers.of_thread("t")


def test_a_sandbox_that_ended_unseen_is_followed_by_another(offers, launcher, daemon, clock):
    """Whoever asks for models is no worse off than whoever sends a message."""
    offers.sandboxes.ensure("t", scope="turn")
    launcher.runs("arn:task/1")
    offers.sandboxes.ensure("t", scope="turn")
    daemon.silent = True
    launcher.ends("arn:task/1")

    def come_back(seconds):
        clock.time += seconds
        daemon.silent = False
        if "arn:task/2" in launcher.tasks:
            launcher.runs("arn:task/2")

    patient = OfferService(sandboxes=offers.sandboxes, daemon=daemon, now=clock, pause=come_back)

    assert patient.of_thread("t")
    assert offers.sandboxes.get("t").generation == 2


def test_a_start_that_failed_is_not_begun_again(offers, launcher):
    """The one who waited hears why."""
    launcher.refusals = 99

    with pytest.raises(SandboxUnavailableError, match="no room"):
        offers.of_thread("t")


class OneUser:
    """Sessions of one user."""

    def verify(self, token, *, thread_id):
        return type("Session", (), {"user_id": token})()


def test_the_route_is_the_owners(offers, service, table, launcher):
    """Another user gets nothing, and the answer has the four fields."""
    service.ensure("t", scope="turn")
    launcher.runs("arn:task/1")
    client = AsgiClient(
        create_app(service, offers, None, sessions=OneUser(), threads=ThreadStore(table=table), audit=FakeAudit())
    )

    mine = client.request("GET", "/api/sandbox/t/models", headers={"authorization": "Bearer ann"})
    other = client.request("GET", "/api/sandbox/t/models", headers={"authorization": "Bearer bob"})

    assert mine.json()[0] == {"provider": "default", "id": "default-a", "name": "default a", "default": False}
    assert (other.status_code, other.json()["code"]) == (403, "forbidden")


def test_a_sandbox_that_is_late_is_a_503_that_says_when_to_come_again(offers, service, table):
    """A page can wait for it by itself."""
    client = AsgiClient(
        create_app(service, offers, None, sessions=OneUser(), threads=ThreadStore(table=table), audit=FakeAudit())
    )

    late = client.request("GET", "/api/sandbox/t/models", headers={"authorization": "Bearer ann"})

    assert (late.status_code, late.json()["code"], late.headers["retry-after"]) == (503, "sandbox_unavailable", "3")


def test_keys_that_cannot_be_sent_are_left_out(caplog):
    """White space around a key is not part of it; other providers are none of ours; no value is logged."""
    keys = usable_keys({"default": " sk-1\n", "anthropic": "", "openai-api": "sk-\u00e9", "mistral": "sk-2"})

    assert {name: key.get_secret_value() for name, key in keys.items()} == {"default": "sk-1"}
    assert "sk-" not in caplog.text


def test_bind_carries_keys_and_access_token_and_nothing_prints_them(service, launcher):
    """They go to sandboxd in the signed call's body only; a refresh token never does."""
    asked = []

    def answer(request):
        asked.append(request)
        status = {"task_arn": "arn:task/1", "state": "booting", "thread_id": "t", "generation": 1}
        return httpx.Response(200, json=status | {"session_id": None, "opencode_version": None})

    service.ensure("t", scope="turn")
    http = httpx.Client(transport=httpx.MockTransport(answer))
    models = ModelAccess(
        model=Model(base_url="https://model.example/v1", name="demo"),
        keys={"anthropic": SecretStr("sk-ant")},
        base_urls={"anthropic": "https://gateway.example/v1"},
    )

    url, field = SecretStr("https://s3/url-secret"), SecretStr("field-secret")
    kept = KeptVersion(generation=1, sequence=2, manifest_url=url, archive_url=url)
    memory = Memory(upload=Upload(url=url, fields={"policy": field}, prefix="snapshots/"), kept=[kept])
    loan = Loan(access_token="at_secret", expires_at=1_800_003_600, account_id=None, version=7)

    DaemonClient(http=http, signer=service.signer).bind(service.get("t"), models, loan, Policy(), memory)

    assert json.loads(asked[0].content) == {
        "thread_id": "t",
        "generation": 1,
        "model": {"base_url": "https://model.example/v1", "name": "demo"},
        "keys": {"anthropic": "sk-ant"},
        "base_urls": {"anthropic": "https://gateway.example/v1"},
        "codex": {"access_token": "at_secret", "expires_at": 1_800_003_600, "account_id": None, "version": 7},
        "tool_policy": {"policy": "read-write", "version": 0},
        "memory": {
            "upload": {"url": "https://s3/url-secret", "fields": {"policy": "field-secret"}, "prefix": "snapshots/"},
            "kept": [
                {
                    "generation": 1,
                    "sequence": 2,
                    "manifest_url": "https://s3/url-secret",
                    "archive_url": "https://s3/url-secret",
                }
            ],
        },
    }
    shown = "".join(repr(each) + each.model_dump_json() for each in (models, loan, memory))
    assert [secret for secret in ("sk-ant", "at_secret", "url-secret", "field-secret") if secret in shown] == []
