"""The error tree, and how it reaches HTTP."""

import json

import pytest

from tests.asgi import AsgiClient
from threadbox import errors
from threadbox.control import Refusal, Reply
from threadbox.edge import BearerToken, create_http_app
from threadbox.errors import AppError, RateLimitedError, StaleGenerationError
from threadbox.identifiers import ThreadId
from threadbox.statuses import http_status


def tree(cls=AppError):
    return [
        cls,
        *(leaf for child in cls.__subclasses__() if child.__module__ == errors.__name__ for leaf in tree(child)),
    ]


@pytest.fixture
def client():
    app = create_http_app(title="t", version="0", max_body=100)

    @app.get("/limited/{thread}")
    def limited(thread: ThreadId) -> None:
        raise RateLimitedError("Slow down.", retry_after=7, limit=3)

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    @app.post("/echo")
    def echo(body: dict[str, int]) -> dict[str, int]:
        return body

    @app.get("/token")
    def show_token(token: BearerToken) -> str:
        return token

    return AsgiClient(app)


def test_codes_are_unique():
    """A code stands for one class."""
    codes = [cls.code for cls in tree()]
    assert sorted(set(codes)) == sorted(codes)


def test_docstring_draws_the_whole_tree():
    """The tree at the top of the module is the tree."""
    drawn = {line.split()[-1] for line in errors.__doc__.splitlines() if "Error" in line}
    assert {cls.code for cls in tree()} == drawn


def test_every_error_has_a_status():
    """A subclass has its ancestor's."""
    assert http_status(StaleGenerationError("x")) == 409
    assert all(http_status(cls("x")) for cls in tree())


def test_error_has_the_one_shape(client):
    """Code, sentence, thread, request and details; Retry-After where there is one."""
    answer = client.request("GET", "/limited/t1")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.json() == {
        "ok": False,
        "code": "rate_limited",
        "message": "Slow down.",
        "thread_id": "t1",
        "request_id": "",
        "details": {"limit": 3},
    }


def test_unforeseen_error_tells_nothing(client):
    """The cause is for the log."""
    answer = client.request("GET", "/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "not_found"),
        ("DELETE", "/echo", None, 404, "not_found"),
        ("GET", "/limited/a%2Fb", None, 404, "not_found"),
        ("GET", "/limited/a.b", None, 422, "invalid_request"),
        ("POST", "/echo", "{", 422, "invalid_request"),
        ("POST", "/echo", '{"a":"x"}', 422, "invalid_request"),
        ("POST", "/echo", json.dumps({"a": 1, "b" * 200: 2}), 413, "too_large"),
    ],
)
def test_bad_input_is_a_clear_4xx(client, method, path, content, status, code):
    """Bad input has a code and the one shape."""
    answer = client.request(method, path, content=content, headers={"content-type": "application/json"})
    assert (status, code) == (answer.status_code, answer.json()["code"])


def test_error_passes_between_functions_as_what_it_was():
    """What sandbox_ctl raises is raised again by whoever invoked it."""
    reply = Reply.model_validate_json(Reply.of_error(StaleGenerationError("gone")).model_dump_json())
    with pytest.raises(StaleGenerationError, match="gone"):
        reply.raised()
    with pytest.raises(AppError):
        Reply(error=Refusal(code="unheard of", message="x")).raised()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ""),
        ({"authorization": ""}, ""),
        ({"authorization": "Bearer x"}, "x"),
        ({"authorization": "bearer x"}, "x"),
        ({"authorization": "Basic x"}, ""),
    ],
)
def test_bearer_token_is_taken_out_of_the_header(client, headers, expected):
    """Only the Bearer scheme counts; without it there is no token, which is for the caller to refuse."""
    assert expected == client.request("GET", "/token", headers=headers).json()
