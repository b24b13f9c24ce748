"""Commands and files by HTTP, with sandboxd scripted and everything else real."""

import asyncio
import base64
import json
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st
from mangum import Mangum

from sandbox_ctl.app import create_app
from sandbox_ctl.checkouts import CheckoutService
from sandbox_ctl.commands import CommandService
from sandbox_ctl.files import FILE_BYTES, FileService
from sandbox_ctl.rates import RateStore
from sandbox_ctl.transfers import TransferService
from sandbox_ctl.workspace_routes import WorkspaceServices
from sandbox_ctl.workspaces import WorkspaceClient, workspace_path
from tests.asgi import AsgiClient
from tests.controlling import Controlling
from tests.sandboxes import ScriptedSandbox
from tests.stacks import ROOT
from threadbox.errors import RateLimitedError
from threadbox.identifiers import thread_hash

RESULT = {"exit_code": 0, "stdout": "out", "stderr": "", "truncated": False, "duration_ms": 5}
STATE = {**RESULT, "exec_id": "e" * 32, "status": "running", "exit_code": None, "next": "3.0"}
STORED = {"path": "a", "size": 3}


class OneUser:
    """Sessions of whoever the token names."""

    def verify(self, token, *, thread_id):
        return SimpleNamespace(user_id=token)


@pytest.fixture
def sandbox():
    return ScriptedSandbox(
        {
            "POST /sandboxd/exec": (200, RESULT),
            "GET /sandboxd/files/a": (200, b"\x00\xff"),
            "PUT /sandboxd/files/a": (200, STORED),
            "POST /sandboxd/transfers/out": (200, STORED),
            "POST /sandboxd/transfers/in": (200, STORED),
            "POST /sandboxd/git/checkout": (200, {"commit": "c" * 40, "path": "project"}),
        }
    )


@pytest.fixture
def controlling(table, clock):
    return Controlling(table, clock)


@pytest.fixture
def running(controlling):
    controlling.runs()
    return controlling


@pytest.fixture
def pausing():
    """What happens while a request waits."""
    return SimpleNamespace(meanwhile=lambda: None)


@pytest.fixture(scope="module")
def s3():
    """Presigning asks nobody."""
    return boto3.client("s3", config=Config(signature_version="s3v4"))


@pytest.fixture
def app(controlling, sandbox, clock, table, pausing, s3, audit):
    workspaces = WorkspaceClient(
        sandboxes=controlling.service,
        http=httpx.Client(transport=httpx.MockTransport(sandbox)),
        signer=controlling.service.signer,
        now=clock,
        pause=lambda seconds: (controlling._pause(seconds), pausing.meanwhile()),
    )
    rate = RateStore(table=table, what="exec", per_minute=3, now=clock)
    services = WorkspaceServices(
        commands=CommandService(workspaces=workspaces, rate=rate, new_id=lambda: "e" * 32),
        files=FileService(workspaces=workspaces),
        transfers=TransferService(workspaces=workspaces, s3=lambda: s3, bucket="bucket", new_id=lambda: "f" * 32),
        checkouts=CheckoutService(workspaces=workspaces, rate=rate, new_id=lambda: "e" * 32),
    )
    return create_app(controlling.service, None, services, sessions=OneUser(), threads=controlling.threads, audit=audit)


@pytest.fixture
def http(app):
    def request(method, path, *, user="ann", headers=None, **options):
        sent = {"authorization": f"Bearer {user}", **(headers or {})}
        return AsgiClient(app).request(method, f"/api/sandbox/t/{path}", headers=sent, **options)

    return request


def refusal(answer):
    return answer.status_code, answer.json()["code"]


def test_command_is_run_and_its_outcome_told(running, sandbox, http):
    """With what was asked for, and 20 s where nothing else was said."""
    order = {"command": "make", "cwd": "a/b", "env": {"A": "b"}, "stdin": "ä"}
    answer = http("POST", "exec", json=order)

    assert (200, RESULT) == (answer.status_code, answer.json())
    assert [{**order, "timeout_seconds": 20}] == sandbox.bodies()


def test_command_in_the_background_is_known_by_an_id(running, sandbox, http):
    """It may take an hour; it is looked at and killed by its id."""
    sandbox.answers["POST /sandboxd/exec"] = (202, STATE)
    path = f"/sandboxd/exec/{'e' * 32}"
    sandbox.answers |= {f"GET {path}": (200, STATE), f"DELETE {path}": (200, {**STATE, "status": "ended"})}
    begun = http("POST", "exec", json={"command": "make"}, headers={"prefer": "respond-async"})
    seen = http("GET", f"exec/{'e' * 32}?after=1.2&wait=20")
    killed = http("DELETE", f"exec/{'e' * 32}")

    assert (202, {"exec_id": "e" * 32}) == (begun.status_code, begun.json())
    assert "respond-async" == begun.headers["preference-applied"]
    assert (3600, "e" * 32) == (sandbox.bodies()[0]["timeout_seconds"], sandbox.bodies()[0]["exec_id"])
    assert b"after=1.2&wait=20" == sandbox.calls[1].url.query
    assert ("running", "ended") == (seen.json()["status"], killed.json()["status"])


def test_who_ran_a_command_is_recorded_and_not_which(running, sandbox, http, audit):
    """Running, killing and checking out, by whom and in which thread; a stop too. Looking is nothing."""
    sandbox.answers["POST /sandboxd/exec"] = (202, STATE)
    path = f"/sandboxd/exec/{'e' * 32}"
    sandbox.answers |= {f"GET {path}": (200, STATE), f"DELETE {path}": (200, {**STATE, "status": "ended"})}
    http("POST", "exec", json={"command": "secret-command"}, headers={"prefer": "respond-async"})
    http("GET", f"exec/{'e' * 32}")
    http("DELETE", f"exec/{'e' * 32}")
    http("POST", "git/checkout", json={"url": "https://example.org/secret.git"}, headers={"prefer": "respond-async"})
    http("POST", "exec", json={"command": "make"}, user="bob")

    assert [
        ("command_run", "t", "ann", {"background": True}),
        ("command_killed", "t", "ann", {"exec_id": "e" * 32}),
        ("checkout_run", "t", "ann", {"background": True}),
    ] == audit.lines


def test_command_is_not_looked_for_where_no_sandbox_runs(sandbox, http, controlling):
    """What ran ended with its sandbox; none is started to find that out."""
    for method in ("GET", "DELETE"):
        assert (404, "no_exec") == refusal(http(method, f"exec/{'e' * 32}"))
    assert [] == list(controlling.launcher.tasks)


def test_sandbox_that_starts_in_time_is_waited_for(controlling, sandbox, http):
    """The command is given to it once it runs."""
    controlling.service.ensure("t", scope="signin")
    controlling.launcher.runs("arn:task/1")

    assert 200 == http("POST", "exec", json={"command": "make"}).status_code
    assert 1 == len(sandbox.calls)


def test_sandbox_that_is_late_is_not_waited_for(controlling, sandbox, http):
    """No more than 25 s; its start goes on, and nothing was run."""
    late = http("POST", "exec", json={"command": "make"})

    assert ((503, "sandbox_unavailable"), "3") == (refusal(late), late.headers["retry-after"])
    assert 24 < sum(controlling.pauses) <= 25
    assert ([], "starting") == (sandbox.calls, controlling.service.get("t").state)


def test_command_that_could_not_end_in_time_is_not_begun(controlling, sandbox, http, pausing):
    """A request has 30 s: after a long start there is nothing left of it for a long command."""
    controlling.service.ensure("t", scope="signin")
    pausing.meanwhile = lambda: controlling.pauses[10:] and controlling.launcher.runs("arn:task/1")
    late = http("POST", "exec", json={"command": "make", "timeout_seconds": 25})

    assert ((503, "sandbox_unavailable"), "1") == (refusal(late), late.headers["retry-after"])
    assert ([], "running") == (sandbox.calls, controlling.service.get("t").state)


def test_sandbox_that_ended_unnoticed_is_replaced(running, sandbox, http, controlling):
    """A call that did not arrive may be made again, to the next one."""
    sandbox.unreachable = True
    controlling.launcher.ends("arn:task/1")
    late = http("POST", "exec", json={"command": "make"})

    assert ((503, "sandbox_unavailable"), 2) == (refusal(late), controlling.service.get("t").generation)


def test_command_that_may_have_run_is_not_run_again(running, sandbox, http):
    """An answer that got lost says nothing of what was done."""

    def lose():
        raise httpx.ReadTimeout("nothing came")

    sandbox.meanwhile = lose
    assert (502, "opencode_error") == refusal(http("POST", "exec", json={"command": "make"}))
    assert 1 == len(sandbox.calls)


def test_commands_of_a_minute_are_counted(running, sandbox, http, clock):
    """Whatever became of them, checkouts among them; the next minute begins anew."""
    clock.time = 6000
    sandbox.refuse("POST /sandboxd/exec", 409, "path_conflict")
    told = [http("POST", "exec", json={"command": "make"}).status_code for _ in range(2)]
    told.append(http("POST", "git/checkout", json={"url": "https://example.com/project.git"}).status_code)
    clock.time = 6041
    much = http("POST", "exec", json={"command": "make"})
    clock.time = 6060
    again = http("POST", "exec", json={"command": "make"})

    assert ([409, 409, 200], (429, "rate_limited"), "19") == (told, refusal(much), much.headers["retry-after"])
    assert 409 == again.status_code


def test_each_thread_has_its_own_count(table, clock):
    """And each thing that is counted."""
    RateStore(table=table, what="exec", per_minute=1, now=clock).take("t")
    RateStore(table=table, what="exec", per_minute=1, now=clock).take("u")
    RateStore(table=table, what="other", per_minute=1, now=clock).take("t")
    with pytest.raises(RateLimitedError):
        RateStore(table=table, what="exec", per_minute=1, now=clock).take("t")


REFUSALS = [
    (404, "no_file", (404, "no_file")),
    (409, "path_conflict", (409, "path_conflict")),
    (413, "too_large", (413, "too_large")),
    (507, "no_space", (409, "no_space")),
    (429, "too_many_execs", (429, "rate_limited")),
    (502, "transfer_failed", (502, "transfer_failed")),
    (422, "invalid_request", (422, "invalid_request")),
    (503, "not_ready", (503, "sandbox_unavailable")),
    (500, "internal", (502, "opencode_error")),
    (403, "forbidden", (502, "opencode_error")),
]


def test_what_the_sandbox_refuses_has_a_code_here(running, sandbox, http):
    """What nobody here could have caused is the sandbox's failure."""
    for status, code, told in REFUSALS:
        sandbox.refuse("GET /sandboxd/files/a", status, code)
        assert told == refusal(http("GET", "files/a")), code


def test_checkout_that_failed_says_why(running, sandbox, http):
    """In one of few words, which the sandbox has from git."""
    sandbox.refuse("POST /sandboxd/git/checkout", 422, "checkout_failed", reason="not_found")
    answer = http("POST", "git/checkout", json={"url": "https://example.com/x.git"})

    assert ((422, "checkout_failed"), {"reason": "not_found"}) == (refusal(answer), answer.json()["details"])


NAMES = ["a b", "ä", "100%", "a%2Fb", "?", "#", "a+b", "a&b=c", "'\"\\", "…/€", "-x", ".hidden"]


def test_names_arrive_as_they_are(running, sandbox, http):
    """In the one spelling that was signed, whatever characters they are made of."""

    def answer():
        asked, _, _ = sandbox.calls[-1].url.raw_path.decode().partition("?")
        sandbox.answers[f"GET {asked}"] = (200, b"x")

    sandbox.meanwhile = answer
    for name in NAMES:
        spelled = "".join(f"%{byte:02X}" if byte != ord("/") else "/" for byte in name.encode())
        assert 200 == http("GET", f"files/{spelled}").status_code
        assert f"/sandboxd/files/{name}" == sandbox.calls[-1].url.path


def test_path_that_leads_out_goes_nowhere(running, sandbox, http):
    """It is refused before anybody is asked."""
    for path in ("%2e%2e/x", "a/%2e%2e/%2e%2e/x", "%2Fetc/passwd", "a%00b", "a//b", "a/", "x" * 300):
        for method in ("GET", "PUT", "DELETE"):
            assert (422, "invalid_request") == refusal(http(method, f"files/{path}")), path
    assert [] == sandbox.calls


@given(path=st.text(max_size=30) | st.lists(st.sampled_from(["a", "..", ".", "", "\0"])).map("/".join))
def test_path_is_taken_or_refused(path):
    """What is taken has no way upwards."""
    try:
        assert path == workspace_path(path)
    except ValueError:
        return
    assert {"..", ".", ""}.isdisjoint(path.split("/")) or path == ""
    assert "\0" not in path


def test_file_is_to_be_saved_and_not_shown(running, http):
    """Its bytes are as they are; a page in a sandbox does not come to life at the API's address."""
    answer = http("GET", "files/a")

    assert b"\x00\xff" == answer.content
    assert ("application/octet-stream", "nosniff") == (
        answer.headers["content-type"],
        answer.headers["x-content-type-options"],
    )
    assert "attachment" == answer.headers["content-disposition"]


def test_directory_is_listed(running, sandbox, http):
    """The workspace itself, too, in either spelling."""
    entry = {"name": "a", "type": "file", "size": 1, "modified_at": 2}
    for path, asked in (("files?list", ""), ("files/?list", ""), ("files/a?list=", "a"), ("files/a/?list=1", "a")):
        listing = {"path": asked, "entries": [entry], "truncated": False}
        sandbox.answers[f"GET /sandboxd/list/{asked}"] = (200, listing)
        assert listing == http("GET", path).json()


def test_file_that_is_too_large_for_a_call_is_refused(running, sandbox, http):
    """Before it is passed on."""
    answer = http("PUT", "files/a", content=b"x" * (FILE_BYTES + 1))

    assert ((413, "too_large"), []) == (refusal(answer), sandbox.calls)


KINDS = ["application/json", "text/plain", "application/x-www-form-urlencoded", "image/png", ""]


@pytest.fixture
def loop():
    """The event loop that Mangum takes, and leaves open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def test_bytes_survive_the_gateway(running, sandbox, app, loop):
    """Whatever type they are said to be, coded as API Gateway codes them; and so do those of an answer."""
    handle = Mangum(app, lifespan="off")
    for kind in KINDS:
        text = kind in ("application/json", "text/plain")
        content = b"{not json" if text else bytes(range(256))
        coded = content.decode() if text else base64.b64encode(content).decode()
        put = handle(event("PUT", "files/a", coded, kind, text=text), None)
        got = handle(event("GET", "files/a", "", "", text=True), None)

        assert (200, STORED) == (put["statusCode"], json.loads(put["body"])), kind
        assert content == sandbox.calls[-2].content
        assert (True, b"\x00\xff") == (got["isBase64Encoded"], base64.b64decode(got["body"]))


def event(method, path, body, kind, *, text):
    """What API Gateway makes of a request."""
    http = {"method": method, "path": f"/api/sandbox/t/{path}", "sourceIp": "127.0.0.1"}
    return {
        "version": "2.0",
        "rawQueryString": "",
        "headers": {"authorization": "Bearer ann", **({"content-type": kind} if kind else {})},
        "requestContext": {"http": http},
        "body": body,
        "isBase64Encoded": not text,
    }


def test_download_goes_by_the_bucket(running, sandbox, http):
    """The sandbox may write one object, whoever asked may read it; its name does not tell the thread's."""
    answer = http("GET", "files/a?presign=1").json()
    (order,) = sandbox.bodies()
    key = f"transfers/{thread_hash('t')}/{'f' * 32}"

    assert ("a", 3, 900) == (order["path"], answer["size"], answer["expires_in"])
    for url in (order["url"], answer["download_url"]):
        assert urlsplit(url).path.endswith(key)
        assert ["900"] == parse_qs(urlsplit(url).query)["X-Amz-Expires"]
    assert order["url"] != answer["download_url"]


def test_upload_is_committed(running, sandbox, http):
    """First the bytes go to the bucket, then the sandbox fetches them; nothing is asked of it before."""
    offered = http("PUT", "files/a?presign=1").json()
    assert [] == sandbox.calls
    committed = http("POST", f"files/a{offered['commit_url']}")
    (order,) = sandbox.bodies()

    assert (200, STORED) == (committed.status_code, committed.json())
    assert urlsplit(offered["upload_url"]).path == urlsplit(order["url"]).path
    for wrong in ("../x", "f" * 31, f"{'f' * 32}/x", ""):
        assert (422, "invalid_request") == refusal(http("POST", "files/a", params={"commit": wrong}))


def test_all_of_it_is_the_owners(running, sandbox, http):
    """Nobody else runs, reads, writes, lists, removes or looks at anything."""
    calls = [
        ("POST", "exec", {"command": "id"}),
        ("GET", f"exec/{'e' * 32}", None),
        ("DELETE", f"exec/{'e' * 32}", None),
        ("POST", "git/checkout", {"url": "https://example.com/x.git"}),
        ("GET", "files/a", None),
        ("GET", "files?list", None),
        ("GET", "files/a?presign=1", None),
        ("PUT", "files/a", None),
        ("PUT", "files/a?presign=1", None),
        ("POST", f"files/a?commit={'f' * 32}", None),
        ("DELETE", "files/a", None),
    ]
    http("GET", "files/a")
    sandbox.calls.clear()
    for method, path, body in calls:
        assert (403, "forbidden") == refusal(http(method, path, user="bob", json=body)), path
    assert [] == sandbox.calls


NO_ORDERS = [
    ("exec", {}),
    ("exec", {"command": ""}),
    ("exec", {"command": "a\0"}),
    ("exec", {"command": "x" * 100_000}),
    ("exec", {"command": "id", "timeout_seconds": 0}),
    ("exec", {"command": "id", "timeout_seconds": 26}),
    ("exec", {"command": "id", "timeout_seconds": 3601}),
    ("exec", {"command": "id", "cwd": ".."}),
    ("exec", {"command": "id", "env": {"A B": "c"}}),
    ("git/checkout", {"url": ""}),
    ("git/checkout", {"url": "https://example.com/x", "ref": "-x"}),
    ("git/checkout", {"url": "https://example.com/x", "target_dir": "../x"}),
]


def test_order_that_cannot_be_is_refused(running, sandbox, http):
    """Nothing is counted, nothing is asked of the sandbox."""
    for path, body in NO_ORDERS:
        assert (422, "invalid_request") == refusal(http("POST", path, json=body)), body
    assert [] == sandbox.calls


def test_calls_are_those_that_sandboxd_takes():
    """Each path and field of a request is in sandboxd's own document."""
    document = json.loads((ROOT / "images" / "opencode" / "openapi.json").read_text())
    fields = {name: set(schema.get("properties", {})) for name, schema in document["components"]["schemas"].items()}

    assert {"command", "cwd", "env", "stdin", "timeout_seconds", "exec_id"} == fields["Exec"]
    assert {"url", "ref", "target_dir", "depth", "timeout_seconds", "exec_id"} == fields["Checkout"]
    assert {"path", "url", "limit"} == fields["Transfer"]
    for name, model in (("ExecResult", RESULT), ("ExecState", STATE), ("Stored", STORED)):
        assert set(model) == fields[name]
    assert {
        f"/sandboxd/{path}"
        for path in ("exec", "exec/{exec_id}", "files/{path}", "list/{path}", "transfers/out", "transfers/in")
    } <= set(document["paths"])
