"""The function of the distribution that gives both APIs one address, run as CloudFront runs it: one event each."""

import json
import subprocess

import pytest

from local.edge.distribution import described

RUN = """
const { code, event } = JSON.parse(process.argv[1]);
process.stdout.write(JSON.stringify(new Function(`${code}; return handler`)()(event)));
"""


@pytest.fixture
def handle(template):
    """Run the function of the template."""
    code = template["Resources"]["ViewerRequestFunction"]["Properties"]["FunctionCode"]

    def run(uri, **query):
        querystring = {name: {"value": value} for name, value in query.items()}
        request = {"method": "GET", "uri": uri, "querystring": querystring, "headers": {}, "cookies": {}}
        event = {"version": "1.0", "context": {"eventType": "viewer-request"}, "request": request}
        answer = subprocess.run(
            ["node", "-e", RUN, json.dumps({"code": code, "event": event})], capture_output=True, check=True, text=True
        )
        return json.loads(answer.stdout)

    return run


def test_socket_of_a_thread_gets_the_websocket_apis_address(handle):
    """What the path names goes where the API reads it; the rest of the query stays as it is."""
    request = handle("/agents/chat/a-thread_1", token="a.b%2Bc", _pk="k")

    assert "/live" == request["uri"]
    assert {"thread": {"value": "a-thread_1"}, "token": {"value": "a.b%2Bc"}, "_pk": {"value": "k"}} == request[
        "querystring"
    ]


def test_path_decides_which_thread(handle):
    """A token is checked for the thread that is opened, so there must not be two."""
    assert {"value": "mine"} == handle("/agents/chat/mine", thread="theirs")["querystring"]["thread"]


@pytest.mark.parametrize(
    "uri", ["/agents/chat/", "/agents/chat/a%2Fb", "/agents/chat/a.b", f"/agents/chat/{'a' * 129}"]
)
def test_what_is_no_thread_is_not_found(handle, uri):
    """It does not reach the API."""
    assert 404 == handle(uri)["statusCode"]


def test_only_the_socket_goes_to_the_websocket_api(template):
    """Everything below a thread's address, and everything else, is the HTTP API's. Nothing of it is cached."""
    told = json.loads(described(template, {"HttpApi": "http://h", "WebSocketApi": "http://w"}))

    assert {"http": "http://h", "websocket": "http://w"} == told["origins"]
    assert [
        ("/agents/chat/*/*", "http", False),
        ("/agents/chat/*", "websocket", True),
        (None, "http", False),
    ] == [(behavior["path"], behavior["origin"], bool(behavior["code"])) for behavior in told["behaviors"]]
    config = template["Resources"]["Distribution"]["Properties"]["DistributionConfig"]
    every = [*config["CacheBehaviors"], config["DefaultCacheBehavior"]]
    assert 1 == len({(each["CachePolicyId"], each["OriginRequestPolicyId"]) for each in every})
    assert {"https-only"} == {each["ViewerProtocolPolicy"] for each in every}
